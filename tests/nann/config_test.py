import dataclasses

import pytest

from nann import config

# Names, meanings and defaults of the original system's flags.
ORIGINAL_DEFAULTS = {
  "adv_eps": 3e-5,
  "adv_weight": 1.0,
  "num_neg": 200,
  "batch_size": 800,
  "train_epochs": 5,
  "emb_dim": 32,
  "learning_rate": 3e-3,
  "weight_decay": 1e-4,
  "print_freq": 50,
  "save_freq": 5000,
  "output_root": "./output",
  "dataset_dir": "./data",
  "hnsw_start_level": 2,
  "num_scoring_per_level": (3, 1, 1),
  "top_k_per_level": (400, 200, 100),
  "topk_eval": (200,),
  "num_test_batch": 10000,
}


def all_fields() -> dict[str, dataclasses.Field]:
  return {
    field.name: field
    for settings in config.setting_groups().values()
    for field in dataclasses.fields(settings)
  }


@pytest.mark.parametrize(("name", "default"), ORIGINAL_DEFAULTS.items())
def test_default_is_the_originals(name: str, default: object) -> None:
  assert all_fields()[name].default == default


def test_every_setting_is_explained() -> None:
  for field in all_fields().values():
    assert len(field.metadata["help"]) > 10, field.name


def test_every_demo_default_names_a_setting() -> None:
  assert set(config.DEMO_DEFAULTS) <= set(all_fields())
  config.config_from_values(config.DEMO_DEFAULTS)


def test_every_default_of_a_scorer_names_a_setting() -> None:
  for scorer, values in config.SCORER_DEFAULTS.items():
    assert set(values) <= set(all_fields())
    config.config_from_values({"scorer": scorer, **values})


@pytest.mark.parametrize(
  ("values", "message"),
  [
    ({"num_neg": 0}, "--num-neg is 0, wanted at least 1"),
    ({"learning_rate": 0.0}, "--learning-rate is 0.0, wanted above 0.0"),
    ({"max_bad_rows": 1.5}, "--max-bad-rows is 1.5, wanted at most 1.0"),
    ({"loss": "hinge"}, "--loss is 'hinge', wanted one of softmax, sigmoid"),
    ({"topk_eval": ()}, "--topk-eval is empty"),
    ({"topk_eval": (5, 0)}, "--topk-eval is 0, wanted at least 1"),
    ({"output_root": ""}, "--output-root is empty"),
    ({"time_window": (5, 5)}, "wanted begin,end with begin < end"),
    ({"column_names": ("user_id",)}, "wanted pairs such as user_id=uid"),
    ({"top_k_per_level": (400, 200)}, "wanted one each per level"),
    ({"num_scoring_per_level": (3, 1, 2)}, "ends with 2, wanted 1"),
    ({"hnsw_start_level": 1}, "wanted 2: one a level from 0"),
    ({"synthetic_categories": 30000}, "wanted at most --synthetic-items"),
  ],
)
def test_bad_value_is_refused_with_its_flag(
  values: dict[str, object], message: str
) -> None:
  with pytest.raises(ValueError, match=message.replace("(", r"\(")):
    config.config_from_values(values)


def test_settings_are_frozen() -> None:
  with pytest.raises(dataclasses.FrozenInstanceError):
    config.Config().run.seed = 1  # type: ignore[misc]
