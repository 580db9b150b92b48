"""Documents are what their schemas say."""

import json
import subprocess

import pytest

WORKLOAD = """
runtime = "5ms"
[[job]]
name = "reader"
tenant = "a"
rw = "randrw"
iodepth = 4
assert = ["read.p99 < 1s"]
[[job]]
name = "scan"
program = "declared"
time = "200us"
bs = "64KiB"
"""


@pytest.fixture(scope="module")
def documents(tmp_path_factory, command):
    folder = tmp_path_factory.mktemp("schemas")
    (folder / "load.toml").write_text(WORKLOAD)

    def document(*arguments):
        done = subprocess.run([command, *arguments], capture_output=True, text=True, cwd=folder)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    workload = document("workload", "load.toml", "--record", "run", "--json")
    return {
        "workload": workload,
        "stat": document("stat", "run", "--json"),
        "compare": document("compare", "run", "run", "--json"),
        "record": json.loads((folder / "run" / "record.json").read_text()),
        "schemas": {name: document("schema", name) for name in ("workload", "stat", "compare", "record")},
    }


@pytest.mark.parametrize("name", ["workload", "stat", "compare", "record"])
def test_a_document_is_what_its_schema_says(documents, name):
    jsonschema = pytest.importorskip("jsonschema")
    schema = documents["schemas"][name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(documents[name], schema)
    # Every key is described, and what is missing is noticed.
    assert set(documents[name]) == set(schema["properties"])
    if schema.get("required"):
        broken = {key: value for key, value in documents[name].items() if key != schema["required"][-1]}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)
