"""The registry: a model is named by everything that decides its output, once and for ever."""

import pytest
from ape import reverts
from world import MODEL


@pytest.mark.parametrize("missing", [{"fileSha256": bytes(32)}, {"fileBytes": 0}, {"stopTokens": []}])
def test_register__no_file_or_stop_token__reverts(registry, people, missing):
    with reverts(registry.IncompleteManifest):
        registry.register({**MODEL, **missing}, sender=people.stranger)


@pytest.mark.parametrize("wrapper", [0, 1, 5])
def test_register__context_without_room_for_prompt_and_output__reverts(registry, people, wrapper):
    model = {**MODEL, "prefixTokens": [1] * (wrapper // 2), "suffixTokens": [2] * (wrapper - wrapper // 2)}
    for context in {0, wrapper + 1}:
        with reverts(registry.NoRoomForPrompt, contextLength=context, wrapperTokens=wrapper):
            registry.register({**model, "contextLength": context}, sender=people.stranger)
    registry.register({**model, "contextLength": wrapper + 2}, sender=people.stranger)


def test_frame__of_a_registered_model__is_its_manifest_s(registry, model, people):
    assert registry.frameOf(bytes(32)) == (0, 0, 0, 0)
    assert registry.frameOf(model) == (8_192, 1, 0, 3)
    wrapped = {**MODEL, "prefixTokens": [1, 2, 3], "suffixTokens": [4, 5], "replacementToken": 2**32 - 1}
    receipt = registry.register({**wrapped, "contextLength": 2**32 - 1}, sender=people.stranger)
    assert registry.frameOf(registry.ModelRegistered.from_receipt(receipt)[0].model) == (2**32 - 1, 3, 2, 2**32 - 1)


def test_register__same_manifest_twice__reverts(registry, model, people):
    with reverts(registry.AlreadyRegistered, model=model):
        registry.register(MODEL, sender=people.stranger)


def test_register__any_change__is_another_model(registry, model, people):
    receipt = registry.register({**MODEL, "suffixTokens": [3]}, sender=people.stranger)
    event = registry.ModelRegistered.from_receipt(receipt)[0]
    assert event.model != model
    assert event.author == people.stranger.address
    assert registry.registered(model)
    assert registry.registered(event.model)
    assert not registry.registered(bytes(32))
