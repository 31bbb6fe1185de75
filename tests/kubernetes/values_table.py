"""The table of values, made from the comments of values.yaml.

A comment that starts with `# --` describes the key below it; `# @default --` stands for a default
that is too long to show. A key with neither is described by its name.
"""

import re

import yaml

from cases import CHART

BEGIN, END = "<!-- values: begin, made from values.yaml -->", "<!-- values: end -->"
KEY = re.compile(r"^(\s*)([A-Za-z]\w*):(.*)$")


def rows():
    """(path, default as JSON-like text, description) of every leaf, in the order of the file."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    stack, comment, done = [], [], None
    for line in text.splitlines():
        if line.strip().startswith("#"):
            comment.append(line.strip().removeprefix("#").strip())
            continue
        found = KEY.match(line)
        if not found:
            comment = []
            continue
        depth = len(found[1]) // 2
        stack = stack[:depth] + [found[2]]
        path = ".".join(stack)
        if done and path.startswith(done + "."):
            continue
        value = _at(values, stack)
        description, default = _described(comment)
        if description or default or not isinstance(value, dict) or not value:
            done = path
            yield path, default or f"`{_shown(value)}`", description
        comment = []


def table():
    lines = ["| value | default | |", "|---|---|---|"]
    for path, default, description in rows():
        lines.append(f"| `{path}` | {default} | {description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines)


def filled(document):
    """The document with the table between the markers."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _at(values, path):
    for key in path:
        values = values[key]
    return values


def _described(comment):
    text, default = [], None
    for line in comment:
        if line.startswith("@default --"):
            default = line.removeprefix("@default --").strip()
        elif line.startswith("--"):
            text = [line.removeprefix("--").strip()]
        elif text:
            text.append(line)
    return " ".join(text), default


def _shown(value):
    if value is None:
        return "null"
    return yaml.safe_dump(value, default_flow_style=True, width=1000).strip().removesuffix("\n...")
