from __future__ import annotations

import pytest

from pipeline.config.checks import ConfigError
from pipeline.config.compose import compose
from pipeline.config.schema import RunConfig
from pipeline.models import layers as model

REFUSED = [
    ("model.filters=0", "model.filters=0", "whole number from 1"),
    ("model.filters=2.5", "model.filters=2.5", "whole number from 1"),
    ("model.filters=[32]", "model.filters=[32]", "as long as model.conv_layers=2"),
    ("model.dropout=1.2", "model.dropout=1.2", "from 0 up to but not including 1"),
    ("model.dropout=nan", "model.dropout=nan", "a number of at most 1e30"),
    ("trainer.epochs=-1", "trainer.epochs=-1", "whole number from 1"),
    ("trainer.epochs=abc", "trainer.epochs=abc", "a whole number"),
    ("trainer.epochs=1.5", "trainer.epochs=1.5", "a whole number"),
    ("data.val_fraction=1", "data.val_fraction=1", "from 0 up to but not including 1"),
    ("data.train_fraction=0", "data.train_fraction=0", "above 0"),
    ("data.limit=0", "data.limit=0", "whole number from 1"),
    ("optimizer.learning_rate=0", "optimizer.learning_rate=0", "above 0"),
    ("optimizer.learning_rate=inf", "optimizer.learning_rate=inf", "a number of at most 1e30"),
    ("optimizer.momentum=0.9", "optimizer.momentum=0.9", "adam, which has none"),
    ("model.pool=eech", "one of each, inner, last, none", "did you mean each?"),
    ("trainer.precision=float16", "one of auto, float32, mixed_bfloat16", "trainer.precision=float16"),
    ("model.fliters=3", "model.fliters is not a config key", "did you mean model.filters?"),
    ("filters=3", "filters is not a config key", "did you mean model.filters?"),
    ("modle=conv", "modle is not a config key", "did you mean model?"),
    ("model=cnov", "one of alexnet_small, builder, conv, dense", "did you mean conv?"),
    ("+model.extra=1", "model.extra is not a config key", "model.filters"),
    ("+extra=1", "extra is not a config key", "trainer"),
    ("~model.filters", "model.filters", "must not be deleted"),
    ("model.dense_units=128", "model.dense_units", "must be a list"),
    ("model.filters=16,32", "names several values", "[1,2]"),
    ("model.filters", "not an override", "key=value"),
    ("seed=null", "seed=null", "must have a value"),
    ("seed=-1", "seed=-1", "from 0"),
    ("data=line", "model.conv_layers=2", "0 with data=line"),
    ("model.augmentation.flip=up", "model.augmentation.flip=up", "none, horizontal, vertical, both"),
    ("model.augmentation.shift=1", "model.augmentation.shift=1", "from 0 up to but not including 1"),
    ("model.augmentation.rotate=-5", "model.augmentation.rotate=-5", "degrees from 0"),
    ("trainer.threads=1024", "trainer.threads=1024", "from 1 to 256"),
    ("trainer.eval_batch_size=3000000000", "trainer.eval_batch_size=3000000000", "from 1 to 1000000"),
    ("model.conv_layers=2147483648", "model.conv_layers=2147483648", "from 0 to 100"),
    ("model.dense_units=[100000,100000]", "the network has 10,", "at most 1,000,000,000"),
    ("model.name=a/b", "model.name=a/b", "letters, digits"),
    ("trainer.threads=0", "trainer.threads=0", "a whole number from 1 to 256, or null"),
    ("data.timeout=0", "data.timeout=0.0", "a number of seconds above 0 up to 86400"),
    ("data.points.test_x=[1]", "data.points is null here", "give all of it"),
    ("checkpoints=null", "checkpoints=null", "a section"),
    ("model.l1=${oc.env:HOME}", "model.l1=${oc.env:HOME}", "write the value itself"),
    ("model@x=conv", "model@x=conv", "@ has no meaning"),
    ("hydra.run.dir=x", "hydra.run.dir=x", "hydra.sweeper.KEY"),
    ("study=smoke", "study is not a config key", "store"),
    ("store.log_model=some", "store.log_model=some", "none, best, all"),
]


def layers_of(override: str) -> list[model.Layer]:
    config = compose(RunConfig, "train", [override])
    return model.layers(config.model, config.data)


@pytest.mark.parametrize(("override", "told", "allowed"), REFUSED, ids=[r[0] for r in REFUSED])
def test_bad_input_is_refused_with_key_value_and_what_is_allowed(override: str, told: str, allowed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        layers_of(override)
    assert told in str(refused.value)
    assert allowed in str(refused.value)
