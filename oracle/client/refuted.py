"""Why an answer's tokens were refuted, in words: what a refutation shows, read from the call that sent it."""

from collections.abc import Callable, Mapping
from typing import Any

from oracle.client.client import OracleClient
from oracle.disputes.pattern_referee import PatternFault
from oracle.disputes.text_referee import TextFault
from oracle.disputes.token_referee import Fault

PROMPT_FAULTS: Mapping[TextFault, str] = {
    TextFault.COUNT: "the prompt has fewer tokens than its wrapper, or more than the context holds with the answer's",
    TextFault.END: "the prompt's last token does not end where the text does",
    TextFault.SPELLING: "token {index} does not spell its part of the prompt",
    TextFault.STATUS: "token {index} is one that no text gives there",
    TextFault.FLAG: "token {index} has a flag that says wrongly whether a piece of the text begins",
    TextFault.BYTE: "token {index} is a byte of a character that has a token, {other}",
    TextFault.CUT: "the piece of the text that begins with token {index} does not end where token {other} has it",
    TextFault.WHOLE: "the piece of the text that begins with token {index} is one token, {other}",
    TextFault.PAIR: "tokens {index} and {next} would not have come to be: token {other} is made first",
    TextFault.ID: "token {index} is not the id that the prompt names",
}
"""By what `refutePrompt` shows."""
ANSWER_FAULTS: Mapping[Fault, str] = {
    Fault.PROMPT: "token {index} is not the prompt's, or their number is not",
    Fault.END: "the answer ends too late, too early, or not where its text does",
    Fault.TEXT: "token {index} does not spell its part of the answer",
    Fault.PADDING: "entry {index}, behind the last token, is not empty",
}
"""By what `refute` shows."""
PATTERN_FAULTS: Mapping[PatternFault, str] = {
    PatternFault.OUTPUT: "the answer is longer than any that a pattern allows",
    PatternFault.TOKEN: "token {which} may not stand where it does, by the pattern that the answer had to follow",
    PatternFault.STOP: "the answer ends where the pattern needs more, and token {which} may follow",
}
"""By what `refutePattern` shows."""


def reason(client: OracleClient, killed: Any) -> str:
    """killed: an `AnswerKilled` event. Empty where a game killed the answer, or the call came through a contract."""
    tx = client.w3.eth.get_transaction(killed["transactionHash"])
    if tx.get("to") != client.deployment.refutations:
        return ""
    function, given = client.refutations.decode_function_input(tx["input"])
    return SHOWN[function.fn_name](given) if function.fn_name in SHOWN else ""


def _prompt_fault(given: Mapping[str, Any]) -> str:
    shown = given["shown"]
    words = PROMPT_FAULTS[TextFault(shown["fault"])]
    return words.format(index=shown["index"], next=shown["index"] + 1, other=shown["other"])


def _answer_fault(given: Mapping[str, Any]) -> str:
    if not given["token"]["data"]:
        return "the answer's output is none that the prompt's type allows, or has another number of tokens"
    return f"token {given['index']} is not the one that the answer's output says, or has an end"


SHOWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "refute": lambda given: ANSWER_FAULTS[Fault(given["fault"])].format(index=given["index"]),
    "refutePrompt": _prompt_fault,
    "refuteAnswer": _answer_fault,
    "refutePattern": lambda given: PATTERN_FAULTS[PatternFault(given["fault"])].format(which=given["which"]),
}
"""By the function that was called."""
