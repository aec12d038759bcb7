"""What a run over mutants has found out so far, in a file, so that the next run goes on from there."""

import hashlib
import json
from pathlib import Path

from tests.mutation.changes import ROOT, Mutant


class Verdicts:
    """The mutants that were noticed. One counts for as long as its module's file is what it was; one that was not
    noticed is tried again, since that is what another test was written for."""

    def __init__(self, file: Path | None, root: Path = ROOT) -> None:
        self._file, self._root = file, root
        lines = file.read_text().splitlines() if file and file.exists() else []
        self._noticed = {(said["name"], said["module"]) for said in map(json.loads, lines)}

    def noticed(self, mutant: Mutant) -> bool:
        return self._key(mutant) in self._noticed

    def note(self, mutant: Mutant, noticed: bool) -> None:
        """Returns once it is in the file, whatever becomes of this process."""
        if self._file and noticed:
            name, module = self._key(mutant)
            with self._file.open("a") as lines:
                lines.write(json.dumps({"name": name, "module": module}) + "\n")

    def _key(self, mutant: Mutant) -> tuple[str, str]:
        return mutant.name, hashlib.sha256((self._root / mutant.path).read_bytes()).hexdigest()
