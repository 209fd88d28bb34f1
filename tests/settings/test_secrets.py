"""Values that come from environment variables are known as such, whatever way they take."""

import pytest
from omegaconf import OmegaConf

from MEDS_transforms.settings.secrets import replace_secrets, variables_in

PIPELINE = """
token: ${oc.env:TOKEN}
number: ${oc.env:NOT_SET_X,5}
shared: {api: "${token}", plain: 1}
stage: %s
"""


@pytest.mark.parametrize(
    ("written", "replaced", "variables"),
    [
        ("{a: 1, b: [x]}", {"a": 1, "b": ["x"]}, set()),
        ("{a: '${oc.env:TOKEN}'}", {"a": "TOKEN"}, {"TOKEN"}),
        ("{a: '${token}', b: '${.a}/x'}", {"a": "TOKEN", "b": "TOKEN"}, {"TOKEN"}),
        ("{a: '${oc.select:token}'}", {"a": "TOKEN"}, {"TOKEN"}),
        ("{a: [{b: 'x${oc.decode:${token}}'}, 2]}", {"a": [{"b": "TOKEN"}, 2]}, {"TOKEN"}),
        ("{a: '${oc.env:${oc.env:WHICH}}'}", {"a": "TOKEN,WHICH"}, {"TOKEN", "WHICH"}),
        ("{a: '${oc.decode:${oc.env:LIST}}'}", {"a": "LIST"}, {"LIST"}),
        ("{a: '${shared}'}", {"a": {"api": "TOKEN", "plain": 1}}, {"TOKEN"}),
        ("'${shared}'", {"api": "TOKEN", "plain": 1}, {"TOKEN"}),
        ("{a: '${number}'}", {"a": "5"}, set()),
    ],
)
def test_values_from_the_environment(monkeypatch, written, replaced, variables):
    for name, value in {"TOKEN": "xyzzy", "WHICH": "TOKEN", "LIST": "[1, 2]"}.items():
        monkeypatch.setenv(name, value)
    cfg = OmegaConf.create(PIPELINE % written)
    resolved = OmegaConf.to_container(cfg.stage, resolve=True)
    assert replace_secrets(resolved, cfg.stage, lambda _, names: ",".join(names)) == replaced
    assert variables_in(cfg.stage) == variables


def test_what_cannot_be_resolved_has_no_value(monkeypatch):
    monkeypatch.setenv("TOKEN", "xyzzy")
    cfg = OmegaConf.create({"a": "${oc.env:NOT_SET_X}", "b": "???", "c": {"up": "${..c}"}, "d": "${oc.env:TOKEN}"})
    assert variables_in(cfg) == {"TOKEN"}
    assert variables_in(None) == variables_in({"a": "${oc.env:TOKEN}"}) == set()
