"""config/systemd against the gateway's defaults."""

import configparser
import json
import re
import subprocess


def unit(path):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(path.read_text())
    return parser


def test_the_units_fit_the_settings(root, gateway):
    schema = json.loads(subprocess.run([gateway, "schema"], capture_output=True, check=True).stdout)
    server = schema["properties"]["server"]["properties"]
    socket = unit(root / "config/systemd/stytch-gateway.socket")
    assert socket["Socket"]["ListenStream"] == server["listen"]["default"]
    service = unit(root / "config/systemd/stytch-gateway.service")["Service"]
    drain = server["timeouts"]["properties"]["drain"]["default"]
    assert int(service["TimeoutStopSec"]) > int(re.fullmatch(r"(\d+)s", drain)[1])
    program, command, *_ = service["ExecStart"].split()
    assert program.endswith("/stytch-gateway") and command == "run"
    assert service["Type"] == "notify-reload"
