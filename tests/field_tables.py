"""Tables of the fields of the JSON files: `python -m tests.field_tables`.

Writes `aios/export/schemas/README.md` from the JSON Schemas beside it.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SCHEMAS = Path(__file__).resolve().parents[1] / "aios" / "export" / "schemas"
TABLES = SCHEMAS / "README.md"
_HEAD = """# Fields of the JSON files

`python -m tests.field_tables` writes this file from the schemas. Fields of an array of objects have
`[]` in their name; sizes of arrays are in parentheses.
"""

Schema = dict[str, Any]


def main() -> None:
    """Write the tables."""
    TABLES.write_text(tables(), "utf-8")
    sys.stdout.write(f"{TABLES}\n")


def tables() -> str:
    """Text of the file."""
    parts = [_HEAD]
    for path in sorted(SCHEMAS.glob("*.schema.json")):
        schema = json.loads(path.read_text("utf-8"))
        rows = [" | ".join(["", *row, ""]).strip() for row in fields(schema)]
        head = f"\n## `{schema['title'].split()[0]}` {schema['title'].split(' ', 1)[1]}\n"
        lines = [head, "| field | type | description |", "|---|---|---|", *rows, ""]
        parts.append("\n".join(lines))
    return "".join(parts)


def fields(schema: Schema, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """Name, type and description of every field, those of objects after the object."""
    required = schema.get("required", [])
    for name, field in schema["properties"].items():
        full = f"{prefix}{name}"
        kind = _kind(field) + ("" if name in required else ", optional")
        yield f"`{full}`", kind, _description(field)
        items = field.get("items", {})
        if "properties" in field:
            yield from fields(field, f"{full}.")
        elif "properties" in items:
            yield from fields(items, f"{full}[].")


def _kind(field: Schema) -> str:
    """Type of a field, with the size of an array: "number (17, 2)"."""
    sizes = []
    while field.get("type") == "array":
        sizes.append(str(field["minItems"]) if field.get("minItems") else "N")
        field = field["items"]
    if "const" in field:
        kind = "constant"
    elif "enum" in field:
        kind = "string"
    else:
        named = field["type"]
        kind = named if isinstance(named, str) else " or ".join(named)
    return f"{kind} ({', '.join(sizes)})" if sizes else kind


def _description(field: Schema) -> str:
    text = field["description"]
    if "const" in field:
        values = field["const"]
        shown = values.values() if isinstance(values, dict) else [values]
        return f"{text}: {', '.join(map(str, shown))}"
    if "enum" in field:
        return f"{text}: {', '.join(f'`{value}`' for value in field['enum'])}"
    return text


if __name__ == "__main__":
    main()
