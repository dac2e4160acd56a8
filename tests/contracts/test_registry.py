"""The registry: a model is named by everything that decides its output, once and for ever."""

import pytest
from ape import reverts
from world import MODEL


@pytest.mark.parametrize(
    "missing", [{"fileSha256": bytes(32)}, {"fileBytes": 0}, {"contextLength": 0}, {"stopTokens": []}]
)
def test_register__no_file_context_or_stop_token__reverts(registry, people, missing):
    with reverts(registry.IncompleteManifest):
        registry.register({**MODEL, **missing}, sender=people.stranger)


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
