"""A device that is killed: sends messages through an output and says which were taken.

python sender.py NAME FOLDER OPTIONS FIRST COUNT: opens the output NAME with OPTIONS (JSON), sends COUNT messages from
the number FIRST on, a line for each when it is taken, and ends when none waits any more.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from neighbours import BELL, message, problems

from audiotag.live.outputs import Delivery, OutputSettings, open_output

if __name__ == "__main__":
    name, folder, options, first, count = sys.argv[1:]
    Delivery.longest_wait = 0.01
    settings = OutputSettings(Path(folder), classes=(BELL,), tell=lambda line: print(line, file=sys.stderr))
    output = open_output(name, settings, **json.loads(options))
    print("ready", flush=True)
    for number in range(int(first), int(first) + int(count)):
        output.send(message(number // 2, "end" if number % 2 else "begin"))
        print(number, flush=True)
    while problems(output).get("waiting"):
        time.sleep(0.01)
    output.close()
