"""What was found so far: one JSON file for each run, so that a run that was killed goes on."""

import json
import os


class Results:
    """The results in a folder, each under a name and of certain settings.

    Those of other settings, or of a damaged file, count as none.
    """

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, name):
        return self.folder / f"{name}.json"

    def get(self, name, settings):
        try:
            found = json.loads(self.path(name).read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        return found if found["settings"] == settings else None

    def put(self, name, found):
        path = self.path(name)
        unfinished = path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(found) + "\n")
        os.replace(unfinished, path)
