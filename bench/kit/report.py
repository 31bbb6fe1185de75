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
