"""What the package index is told about where the repository is, which only the machine knows that builds there.

GitHub's machines say which repository and which tag they build; there the index gets the addresses of the project,
and a README whose pictures and links are absolute, because it shows no others.  Elsewhere nothing is invented.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# what stands in code, which stays as it is; or what a picture or a link of Markdown or HTML points to in the repository
RELATIVE = re.compile(
    r"""(?P<code>```.*?```|`[^`\n]*`)|(?P<before>\]\(|\b(?:src|href)=")(?![a-z]+:|\#|/)(?P<path>[^)\s"]+)(?=[)"]|\s+")""",
    re.DOTALL,
)
PICTURES = (".png", ".svg", ".gif", ".jpg", ".webp")


def repository_of(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The address of the repository that is built, and its tag or commit; None where nobody says."""
    server, name = environment.get("GITHUB_SERVER_URL"), environment.get("GITHUB_REPOSITORY")
    if not (server and name):
        return None
    tagged = environment.get("GITHUB_REF_TYPE") == "tag"
    return f"{server}/{name}", environment["GITHUB_REF_NAME" if tagged else "GITHUB_SHA"]


def absolute(text: str, address: str, version: str) -> str:
    """A page whose pictures and links to files of the repository begin with its address."""

    def there(found: re.Match) -> str:
        if found["code"]:
            return found["code"]
        kind = "raw" if found["path"].endswith(PICTURES) else "blob"
        return f"{found['before']}{address}/{kind}/{version}/{found['path']}"

    return RELATIVE.sub(there, text)


def urls(address: str) -> dict[str, str]:
    """The addresses that the index lists."""
    return {
        "Repository": address,
        "Documentation": f"{address}/tree/main/docs",
        "Issues": f"{address}/issues",
        "Changelog": f"{address}/blob/main/CHANGELOG.md",
    }


class ReadmeAndAddresses(MetadataHookInterface):
    """Sets the dynamic fields `readme` and `urls`."""

    def update(self, metadata: dict) -> None:
        """Set both from README.md and from what the machine says."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        found = repository_of(os.environ)
        metadata["urls"] = {} if found is None else urls(found[0])
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": text if found is None else absolute(text, *found),
        }
