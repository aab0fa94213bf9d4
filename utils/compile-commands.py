#!/usr/bin/env python3
# compile-commands.py -- compile_commands.json for editors and clang tools: `compile-commands.py "<cc and flags>" file.c...`
# SPDX-License-Identifier: BSD-3-Clause
import json
import os
import shlex
import sys

command = shlex.split(sys.argv[1])
json.dump([{"directory": os.getcwd(), "file": name, "arguments": command + ["-c", name]} for name in sys.argv[2:]],
          sys.stdout, indent=1)
print()
