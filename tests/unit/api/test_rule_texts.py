"""What alarms of users' rules say."""

from services.api.texts import statement_of, title_of

DETAIL = {"rule": "Pump runs hot", "message": "Let it rest.", "quantity": "pump_temp_c", "value": 83.25, "level": 80.0}


def test_alarm_of_a_rule_has_its_name_and_its_message_with_the_number() -> None:
    assert title_of("rule_pump_hot", {}, DETAIL) == "Pump runs hot"
    said = statement_of("rule_pump_hot", 2, 1.0, DETAIL)
    assert said == "Let it rest. pump_temp_c was 83.25; the rule's level is 80."


def test_alarm_of_a_rule_without_detail_is_named_by_its_code() -> None:
    assert title_of("rule_pump_hot", {}, {}) == "Rule pump hot"
    assert statement_of("rule_pump_hot", 2, 1.0, {}) == "Rule pump hot: see the detail of this alarm."
