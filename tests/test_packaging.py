"""What the package index is told, and what must agree with pyproject.toml."""

import importlib.metadata
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = "https://example.org/lab/napari-exposure"


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("![a window](docs/images/a.png)", f"![a window]({ADDRESS}/raw/v1.0/docs/images/a.png)"),
        ("[how](docs/how.md#noise)", f"[how]({ADDRESS}/blob/v1.0/docs/how.md#noise)"),
        (
            "[![badge](docs/b.png)](docs/how.md)",
            f"[![badge]({ADDRESS}/raw/v1.0/docs/b.png)]({ADDRESS}/blob/v1.0/docs/how.md)",
        ),
        ('<img src="docs/a.png" width="400">', f'<img src="{ADDRESS}/raw/v1.0/docs/a.png" width="400">'),
        ('[how](docs/how.md "The mathematics")', f'[how]({ADDRESS}/blob/v1.0/docs/how.md "The mathematics")'),
        ("```md\n[how](docs/how.md)\n```\n[a](b.md)", f"```md\n[how](docs/how.md)\n```\n[a]({ADDRESS}/blob/v1.0/b.md)"),
        ("[napari](https://napari.org)", "[napari](https://napari.org)"),
        ("[mail](mailto:somebody@example.org)", "[mail](mailto:somebody@example.org)"),
        ("[below](#install)", "[below](#install)"),
        ('viewer.layers["nuclei"].data[0](1, 2)', 'viewer.layers["nuclei"].data[0](1, 2)'),
        ("`apply(recipe)[0](stack)`", "`apply(recipe)[0](stack)`"),
    ],
)
def test_pictures_and_links_begin_with_the_address_of_the_repository(hook, given, shown):
    assert hook.absolute(given, ADDRESS, "v1.0") == shown


def test_no_picture_of_the_readme_is_left_out_or_missing(hook):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = hook.absolute(text, ADDRESS, "v1.0")
    pictures = re.findall(r"!\[[^]]*\]\(([^)]*)\)", shown)
    assert pictures
    for picture in pictures:
        assert picture.startswith(f"{ADDRESS}/raw/v1.0/")
        assert (ROOT / picture.removeprefix(f"{ADDRESS}/raw/v1.0/")).is_file()


def test_the_repository_is_what_the_machine_that_builds_says(hook):
    machine = {
        "GITHUB_SERVER_URL": "https://example.org",
        "GITHUB_REPOSITORY": "lab/napari-exposure",
        "GITHUB_REF_TYPE": "branch",
        "GITHUB_REF_NAME": "main",
        "GITHUB_SHA": "0123abc",
    }
    assert hook.repository_of({}) is None
    assert hook.repository_of(machine) == (ADDRESS, "0123abc")
    assert hook.repository_of({**machine, "GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": "v1.0"}) == (ADDRESS, "v1.0")
    assert all(address.startswith(ADDRESS) for address in hook.urls(ADDRESS).values())


def test_the_recipe_for_conda_asks_for_what_the_package_asks_for():
    names = {"dask": "dask-core", "matplotlib": "matplotlib-base"}

    def line(text):
        wanted = Requirement(text)
        return f"- {names.get(wanted.name, wanted.name)} {wanted.specifier}"

    recipe = (ROOT / "recipe" / "meta.yaml").read_text(encoding="utf-8")
    run, constrained = recipe.split("  run:\n")[1].split("\ntest:")[0].split("  run_constrained:\n")
    of_run = {each.strip() for each in run.splitlines() if each.strip().startswith("- ")}
    assert of_run == {*map(line, PROJECT["dependencies"]), "- python >={{ python_min }}"}
    assert f'python_min = "{PROJECT["requires-python"].removeprefix(">=")}"' in recipe
    extras = PROJECT["optional-dependencies"]
    for extra in ("codecs", "plot", "zarr"):
        assert {line(each) for each in extras[extra]} <= {each.strip() for each in constrained.splitlines()}


def test_the_version_comes_from_git_or_from_the_fallback():
    assert "version" in PROJECT["dynamic"]
    assert importlib.metadata.version("napari-exposure") > "0"


def test_a_file_that_is_not_git_s_names_no_package_index():
    # a mirror's address in a committed file would send everybody there
    texts = ["pyproject.toml", "constraints.txt", "recipe/meta.yaml", *map(str, (ROOT / "scripts").iterdir())]
    for name in texts:
        assert "://" not in (ROOT / name).read_text(encoding="utf-8").replace("https://napari.org", "")
