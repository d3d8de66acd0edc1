"""What a person tells by the command line reaches the machine as codes, or is refused."""

import json

import pytest

from dermafleet.contracts.records import decode_event, encode_record, maintenance_of
from dermafleet.errors import SettingError
from device_agent import telling
from device_agent.drivers import Operator
from device_agent.recorder import Cut, Note, Rates, Recorder
from device_agent.sessions import SessionRules
from tests.unit.agent.build import instant, sample


def test_words_are_read_as_what_a_panel_would_tell() -> None:
    told = telling.parse_told(
        ["purpose=cleaning", "tip_size_mm=5", "indications=DULL_SKIN,AGE_SPOTS", "maintenance=SEAL_REPLACED:main:L-17"]
    )
    assert (told.purpose, told.tip_size_mm, told.indications) == ("cleaning", 5.0, ["DULL_SKIN", "AGE_SPOTS"])
    [done] = told.maintenance
    assert (done.type, done.component, done.part_lot) == ("SEAL_REPLACED", "main", "L-17")


@pytest.mark.parametrize(
    "word",
    [
        "cleaning",
        "client=Smith",
        "purpose=lunch",
        "abort_reason=SHE_FELT_ILL",
        "indications=Akne",
        "maintenance=X",
    ],
)
def test_what_is_no_code_is_refused_by_name(word: str) -> None:
    with pytest.raises(SettingError, match="tell: "):
        telling.parse_told([word])


def test_what_is_asked_over_the_socket_arrives_as_it_was_told() -> None:
    told = telling.parse_told(["button=start", "maintenance=TIP_CHANGED"])
    taken: list[Operator] = []

    def take(operator: Operator) -> bool:
        taken.append(operator)
        return True

    word, _, rest = telling.question(told).partition(" ")
    assert word == "tell"
    assert json.loads(telling.answer(rest, take)) == {"told": True}
    assert taken == [told]
    assert "error" in json.loads(telling.answer(rest, lambda _: False))
    assert "error" in json.loads(telling.answer('{"client": "Smith"}', lambda _: True))


def test_a_driver_cannot_tell_a_code_that_does_not_exist() -> None:
    with pytest.raises(ValueError, match="no code"):
        Operator(tip_type="SILVER")


@pytest.mark.parametrize("rules", [SessionRules(), None])
def test_maintenance_stands_in_the_log_where_it_was_done(rules: SessionRules | None) -> None:
    r = Recorder(Rates(idle_s=0), rules)
    r.take(sample(0), 0)
    r.tell(telling.parse_told(["maintenance=FILTER_INTAKE_REPLACED"]), instant(0.5))
    r.take(sample(1), 1)
    r.cut()
    before, note, after = r.waiting
    assert isinstance(before, Cut)
    assert isinstance(after, Cut)
    assert isinstance(note, Note)
    assert note.event is not None
    done = maintenance_of(decode_event(encode_record(note.event))[0])
    assert (done.type, done.component, done.part_lot, done.vocabulary) == ("FILTER_INTAKE_REPLACED", "main", None, 1)
