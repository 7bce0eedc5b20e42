"""Holds documents against the schemas of a directory: one a line, as {"schema": …, "document": …}.

Prints what is wrong, each mistake a line. The schemas are read as closed: a field that they do not name is a mistake.
"""

import json
import pathlib
import sys

from jsonschema import Draft202012Validator, RefResolver


def closed(schema):
    """The same schema, of objects that have no other fields."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    further = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return {key: closed(part) for key, part in schema.items()} | further


directory = pathlib.Path(sys.argv[1]).resolve()
paths = directory.glob("*.schema.json")
schemas = {path.as_uri(): closed(json.loads(path.read_text())) for path in paths}
for schema in schemas.values():
    Draft202012Validator.check_schema(schema)
for line in sys.stdin:
    asked = json.loads(line)
    address = (directory / (asked["schema"] + ".schema.json")).as_uri()
    schema = schemas[address]
    resolver = RefResolver(address, schema, store=schemas)
    for error in Draft202012Validator(schema, resolver=resolver).iter_errors(asked["document"]):
        print(f"{asked['schema']}, {error.json_path}: {error.message}")
