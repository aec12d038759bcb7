"""Runs apart, with a library path of its own: one survey for each line of input, as one line of JSON."""

import json
import sys
from dataclasses import asdict

from ogpu_provider.scheduler import nvml

for _ in sys.stdin:
    reading = nvml.read()
    found = nvml.survey()
    print(json.dumps({"reading": asdict(reading), "survey": asdict(found)}), flush=True)
