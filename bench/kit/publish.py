"""Where results go: bench/out, and with --publish the tables between the marks in docs/performance.md,
with their data and plots beside it."""
import json
import os
import re

from . import report

FOLDER = "performance"


def write(folder, result, tables):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "tables.md"), "w") as f:
        f.write("\n\n".join(tables.values()))
    with open(os.path.join(folder, "data.json"), "w") as f:
        json.dump(rounded(result), f, indent=1)
        f.write("\n")
    for name, text in report.plots(result).items():
        with open(os.path.join(folder, f"{name}.svg"), "w") as f:
            f.write(text)


def rounded(value):
    """Four digits say all that such figures mean."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items() if k != "times_ms"}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return value


def into_docs(root, result, tables):
    page = os.path.join(root, "docs", "performance.md")
    text = open(page).read()
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if begin not in text or end not in text:
            raise RuntimeError(f"docs/performance.md has no marks for {name}")
        text = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: f"{begin}\n{table}\n{end}", text, flags=re.S)
    with open(page, "w") as f:
        f.write(text)
    write(os.path.join(root, "docs", FOLDER), result, {})
    os.unlink(os.path.join(root, "docs", FOLDER, "tables.md"))
