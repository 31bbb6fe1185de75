"""Tables and plots from the medians. A figure worse than the better peer is marked, never hidden."""
import statistics

COLOURS = {"sluice": "#1f6feb", "nginx": "#5a9e5a", "haproxy": "#c98a2b"}


def table(title, unit, rows, names, better="less"):
    """rows: {workload: {peer: [values]}}; medians, the ratio to the best peer, a mark where we lose."""
    lines = [f"### {title} ({unit}; {better} is better)", "",
             "| workload | " + " | ".join(names) + " | sluice / best peer | |",
             "|---|" + "---|" * (len(names) + 2)]
    for workload, by_peer in rows.items():
        medians = {n: statistics.median(by_peer[n]) for n in names if by_peer.get(n)}
        peers = [medians[n] for n in names if n != "sluice" and n in medians]
        ratio, mark = "", ""
        if peers and "sluice" in medians:
            best = min(peers) if better == "less" else max(peers)
            ratio = f"{medians['sluice'] / best:.2f}" if best else ""
            worse = medians["sluice"] > best if better == "less" else medians["sluice"] < best
            mark = "**worse**" if worse else ""
        cells = " | ".join(f"{medians[n]:.4g}" if n in medians else "-" for n in names)
        lines.append(f"| {workload} | {cells} | {ratio} | {mark} |")
    return "\n".join(lines) + "\n"


TITLES = {"latency": ("Latency at a fixed rate", "µs"), "memory": ("Memory of idle connections", "PSS"),
          "start": ("Start, with two workers", "ms and MiB"), "cpu": ("CPU", "µs of all the proxy's processes")}


def tables(result):
    """{name: text} of everything that was measured."""
    names = result["peers"]
    found = {"facts": facts(result)}
    for name in ("cpu", "latency", "memory", "start"):
        if name in result:
            found[name] = table(*TITLES[name], result[name], names)
    if "reload" in result:
        found["reload"] = reload_table(result["reload"])
    return found


def facts(result):
    f = result["facts"]
    return (f"Measured on {f['date']} on {f['cores']} cores of {f['cpu']}, Linux {f['kernel']}, with `{f['sluice']}`, "
            f"`{f['nginx']}` and `{f['haproxy']}`, by `{result['command']}`.")


def reload_table(reload):
    lines = ["### Reload (requests run meanwhile; none may fail)", "",
             "| rules | reloads | requests meanwhile | p50, ms | p99, ms | memory after 10, MiB | after all, MiB |",
             "|---|---|---|---|---|---|---|"]
    for name in ("5 rules", "5,000 rules"):
        r = reload[name]
        lines.append(f"| {r['rules']:,} | {r['reloads']:,} | {r['requests']:,} | {r['p50_ms']:.1f} | {r['p99_ms']:.1f} "
                     f"| {r['early_mib']:.1f} | {r['late_mib']:.1f} |")
    each = ", ".join(f"{r['core_percent']:.1f} % of a core with {r['rules']:,} rules" for r in reload["each second"])
    return "\n".join(lines) + f"\n\nOne reload a second takes {each}.\n"


def plots(result):
    names = result["peers"]
    found = {name: bars(TITLES[name][0], result[name], names) for name in ("cpu", "latency", "memory", "start")
             if name in result}
    if "reload" in result:
        found["reload"] = curve("Rename to last commit, ms, one dot a reload",
                                {name: result["reload"][name]["times_ms"] for name in ("5 rules", "5,000 rules")})
    return found


def curve(title, series):
    """Dots over the run, one series a colour."""
    width, height, left, top = 720, 260, 50, 40
    most = max(max(values) for values in series.values()) or 1
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
           f'font-size="12"><rect width="100%" height="100%" fill="white"/><text x="10" y="20" font-size="14">{title}</text>'
           f'<text x="5" y="{top + 4}">{most:.0f}</text><text x="5" y="{height - 20}">0</text>']
    for i, (name, values) in enumerate(series.items()):
        colour = list(COLOURS.values())[i]
        step = max(1, len(values) // 400)
        for at in range(0, len(values), step):
            x = left + (width - left - 20) * at / max(1, len(values) - 1)
            y = height - 24 - (height - 24 - top) * values[at] / most
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.5" fill="{colour}"/>')
        out.append(f'<text x="{left + 130 * i}" y="{height - 5}" fill="{colour}">{name}</text>')
    return "\n".join(out) + "\n</svg>\n"


def bars(title, rows, names):
    """A plain SVG of grouped bars, each group scaled to nginx = 1."""
    groups = [(k, v) for k, v in rows.items() if v.get("nginx")]
    width, step, left = 720, 18 * len(names) + 14, 230
    height = 40 + step * len(groups)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
           f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
           f'<text x="10" y="20" font-size="14">{title} (nginx = 1)</text>']
    most = max([statistics.median(v[n]) / statistics.median(v["nginx"])
                for _, v in groups for n in names if v.get(n)] + [1])
    for g, (workload, by_peer) in enumerate(groups):
        y = 40 + g * step
        out.append(f'<text x="10" y="{y + step / 2 - 2}">{workload}</text>')
        for i, name in enumerate(n for n in names if by_peer.get(n)):
            value = statistics.median(by_peer[name]) / statistics.median(by_peer["nginx"])
            length = (width - left - 110) * value / most
            out.append(f'<rect x="{left}" y="{y + i * 18}" width="{length:.1f}" height="14" fill="{COLOURS[name]}"/>'
                       f'<text x="{left + length + 5:.1f}" y="{y + i * 18 + 12}">{name} {value:.2f}</text>')
    return "\n".join(out) + "\n</svg>\n"
