"""The schemas in Hydra's store."""

from hydra.core.config_store import ConfigStore

from jaxgen.config import schema


def test_they_are_made_and_stored_once(monkeypatch):
    schema.register()
    monkeypatch.setattr(ConfigStore.instance(), "store", None)  # what is called fails
    schema.register()
    assert "run.yaml" in ConfigStore.instance().list("schema")
