# Copyright: Contributors to the keyops.aws collection
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection as a whole: what it says of itself is true, and it can be built and installed."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml

from ansible_collections.keyops.aws.plugins.module_utils._custom_key_store import version
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store
from ansible_collections.keyops.aws.plugins.modules import kms_custom_key_store_info
from ansible_collections.keyops.aws.plugins.plugin_utils.maintenance import Options
from dev.environment import BIN
from dev.environment import COLLECTIONS
from dev.environment import ROOT
from dev.environment import ansible_environment
from dev.matrix import ENVIRONMENTS
from dev.matrix import MATRIX

MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
STEPS = "maintenance_window"
"""What the role consists of: documented as a module, and an action plugin in fact."""


def ansible_doc(*arguments: str) -> str:
    """What ansible-doc says of the collection in this environment."""
    environment = ansible_environment("http://127.0.0.1:9")
    return subprocess.run(
        [str(BIN / "ansible-doc"), *arguments], env=environment, check=True, capture_output=True, text=True
    ).stdout


def load(*parts: str) -> Any:
    return yaml.safe_load(ROOT.joinpath(*parts).read_text())


def test_the_user_agent_has_the_name_and_version_of_the_collection() -> None:
    galaxy = load("galaxy.yml")
    assert f"{galaxy['namespace']}.{galaxy['name']}" == version.COLLECTION_NAME
    assert galaxy["version"] == version.COLLECTION_VERSION


def test_messages_name_the_documentation_that_galaxy_names() -> None:
    galaxy = load("galaxy.yml")
    assert galaxy["documentation"] == version.DOCUMENTATION_URL
    assert galaxy["documentation"].startswith(f"{galaxy['repository']}/")


def test_the_action_group_has_every_module_and_those_of_amazon_aws() -> None:
    group = load("meta", "runtime.yml")["action_groups"]["aws"]
    assert group[0] == {"metadata": {"extend_group": ["amazon.aws.aws"]}}
    assert sorted(group[1:]) == MODULES


def test_the_readme_names_every_module_and_playbook() -> None:
    readme = (ROOT / "README.md").read_text()
    roles = (path.name for path in (ROOT / "roles").iterdir())
    modules = (name for name in MODULES if name != STEPS)  # nobody uses those but the role
    for name in (*modules, *roles, *(path.stem for path in (ROOT / "playbooks").glob("*.yml"))):
        assert name in readme, name


def test_the_workflow_runs_each_set_of_versions_with_pinned_actions() -> None:
    workflow = ROOT / ".github" / "workflows" / "ci.yml"
    if not workflow.exists():
        pytest.skip("The built collection has no workflows.")
    listed = load(".github", "workflows", "ci.yml")["jobs"]["versions"]["strategy"]["matrix"]["include"]
    assert {each["versions"]: each["python"] for each in listed} == {
        name: versions.python for name, versions in MATRIX.items()
    }
    used = re.findall(r"uses: (\S+)", workflow.read_text())
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


@pytest.mark.skipif(BIN.is_relative_to(ENVIRONMENTS), reason="The table is written when the tests of these have ended.")
def test_the_versions_are_those_that_the_collection_says() -> None:
    cores = [versions.packages["ansible-core"].removeprefix("~=") for versions in MATRIX.values()]
    assert load("meta", "runtime.yml")["requires_ansible"] == f">={min(cores)}"
    guide = ROOT.joinpath("docs", "docsite", "rst", "guide_versions.rst").read_text()
    rows = re.findall(r"(?m)^   \* - (2\.\d+)\.\S+\n(?:     - .*\n){3}     - (.*)\n     - 20", guide)
    assert [core for core, _tests in rows] == [core.removesuffix(".0") for core in cores]
    assert all("passed" in tests and "failed" not in tests for _core, tests in rows)


def as_documented(options: dict[str, Any]) -> dict[str, Any]:
    """An argument spec in the words of documentation, or the other way round: what both can say."""
    both = ("type", "default", "choices", "aliases", "elements", "required")
    return {
        name: {
            **{key: option[key] for key in both if key in option},
            "options": as_documented(option.get("options") or option.get("suboptions") or {}),
        }
        for name, option in options.items()
    }


def fragment_options(fragment: str) -> dict[str, Any]:
    """The options that a documentation fragment of this collection adds."""
    _namespace, _collection, name, *variant = fragment.split(".")
    file = importlib.import_module(f"ansible_collections.keyops.aws.plugins.doc_fragments.{name}")
    text = getattr(file.ModuleDocFragment, variant[0].upper() if variant else "DOCUMENTATION")
    options: dict[str, Any] = yaml.safe_load(text)["options"]
    return options


@pytest.mark.parametrize("name", [name for name in MODULES if name != STEPS])
def test_the_argument_spec_is_what_the_documentation_says(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.keyops.aws.plugins.modules.{name}")
    documentation = yaml.safe_load(module.DOCUMENTATION)
    fragments = [each for each in documentation["extends_documentation_fragment"] if each.startswith("keyops.aws.")]
    documented = dict(documentation["options"])
    for each in fragments:
        documented.update(fragment_options(each))
    assert as_documented(module.argument_spec()) == as_documented(documented)


def test_the_steps_of_the_role_take_what_their_documentation_says() -> None:
    path = ROOT / "plugins" / "modules" / f"{STEPS}.py"
    documented = yaml.safe_load(path.read_text().partition('DOCUMENTATION = r"""')[2].partition('"""')[0])["options"]
    assert sorted(documented) == sorted({each.name for each in dataclasses.fields(Options)} - {"connection"})
    role = load("roles", "key_store_maintenance", "meta", "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name.removeprefix("key_store_maintenance_") for name in role} == set(documented) - {"step"}
    defaults = load("roles", "key_store_maintenance", "defaults", "main.yml")
    assert defaults == {name: option["default"] for name, option in role.items() if "default" in option}


def test_every_plugin_that_a_playbook_may_name_is_documented() -> None:
    """By ansible-doc, as a user reads it: modules from their own text, roles from theirs."""
    roles = [f"keyops.aws.{path.name}" for path in (ROOT / "roles").iterdir()]
    for kind, names in (("module", [f"keyops.aws.{name}" for name in MODULES]), ("role", roles)):
        documented = ansible_doc("--json", "-t", kind, *names)
        assert sorted(json.loads(documented)) == sorted(names)


def test_what_happens_is_shown_by_tests_that_there_are() -> None:
    guide = ROOT.joinpath("docs", "docsite", "rst", "guide_what_happens.rst").read_text()
    named = re.findall(r"``(\S+\.py)::(test_\w+)``", guide)
    assert len(named) > 40
    for path, test in named:
        assert f"def {test}(" in (ROOT / "tests" / path).read_text(), (path, test)
    rows = guide.count("   * - ") - guide.count("   * - When\n")
    assert len(re.findall(r"(?m)^     - (?:``\S+::|Nothing can)", guide)) == rows


def test_ways_to_run_are_shown_by_tests_that_there_are() -> None:
    guide = ROOT.joinpath("docs", "docsite", "rst", "guide_ways_to_run.rst").read_text()
    tests = ROOT / "tests" / "integration"
    rows = re.findall(r"(?m)^   \* - (?!What$).+\n     - (.+\n(?:       .+\n)*)     - ", guide)
    named = [re.findall(r"``(?:(\w+\.py)::)?(test_\w+)``", row) for row in rows]
    assert len(rows) == guide.count("   * - ") - guide.count("   * - What\n") > 30
    assert all(named)
    for path, test in (each for row in named for each in row):
        assert f"def {test}(" in (tests / (path or "test_ways_to_run.py")).read_text(), (path, test)


def test_each_code_is_in_the_guide_to_predictions_with_its_test() -> None:
    guide = ROOT.joinpath("docs", "docsite", "rst", "guide_predict.rst").read_text()
    rows = re.findall(r"   \* - ``([A-Z_]+)``\n     - .*\n     - ``(.*)``\n", guide)
    codes = boto3.client("kms", region_name="us-east-1").meta.service_model.shape_for("ConnectionErrorCodeType").enum
    assert sorted(code for code, _test in rows) == sorted(codes)
    predicted = [test.split("::") for _code, test in rows if test != "-"]
    assert f"{len(predicted)} of them are predicted." in guide
    for path, test in predicted:
        assert f"def {test}(" in (ROOT / "tests" / "unit" / "plugins" / path).read_text(), (path, test)


def test_both_modules_describe_a_store_in_the_same_words() -> None:
    one = yaml.safe_load(kms_custom_key_store.RETURN)["custom_key_store"]["contains"]
    each = yaml.safe_load(kms_custom_key_store_info.RETURN)["custom_key_stores"]["contains"]
    assert one == {key: each[key] for key in one}
    assert set(each) - set(one) == {"connection_error", "keys", "cloud_hsm_cluster", "events", "connect_prediction"}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built."""
    folder = tmp_path_factory.mktemp("build")
    galaxy = str(BIN / "ansible-galaxy")
    subprocess.run(
        [galaxy, "collection", "build", str(ROOT), "--output-path", str(folder)], check=True, capture_output=True
    )
    (path,) = folder.iterdir()
    return path


def test_the_archive_has_nothing_but_the_collection(archive: Path) -> None:
    with tarfile.open(archive) as content:
        tops = {name.split("/")[0] for name in content.getnames()}
    assert tops == {
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "COPYING",
        "FILES.json",
        "LICENSES",
        "MANIFEST.json",
        "Makefile",
        "README.md",
        "REUSE.toml",
        "changelogs",
        "emulator",
        "docs",
        "extensions",
        "meta",
        "playbooks",
        "plugins",
        "pyproject.toml",
        "requirements.txt",
        "roles",
        "tests",
    }


def test_the_archive_can_be_installed_and_used(archive: Path, tmp_path: Path) -> None:
    galaxy = str(BIN / "ansible-galaxy")
    install = [
        galaxy,
        "collection",
        "install",
        "--force",
        "--no-deps",
        "--offline",
        str(archive),
        "--collections-path",
        str(tmp_path),
    ]
    subprocess.run(install, check=True, capture_output=True)
    (tmp_path / "ansible_collections" / "amazon").symlink_to(COLLECTIONS / "ansible_collections" / "amazon")
    environment = {
        **ansible_environment("http://127.0.0.1:9"),
        "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
        "ANSIBLE_COLLECTIONS_SCAN_SYS_PATH": "false",
    }
    doc = subprocess.run(
        [str(BIN / "ansible-doc"), "keyops.aws.kms_custom_key_store"],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert str(tmp_path) in doc.stdout
    assert "Connect the key store and wait until its keys can be used again" in doc.stdout
