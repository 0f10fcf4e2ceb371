"""The grid with Ray Tune, a core a trial, logged to MLflow by its callback: python ray_tune_grid.py EPOCHS."""

import json
import os
import sys
from pathlib import Path

import ray
from ray import tune
from ray.air.integrations.mlflow import MLflowLoggerCallback

EPOCHS = int(sys.argv[1])


def train(config):
    import tensorflow as tf
    from ray.tune.integration.keras import TuneReportCheckpointCallback

    tf.config.threading.set_intra_op_parallelism_threads(1)  # two trials run at a time; Ray leaves this to us
    tf.config.threading.set_inter_op_parallelism_threads(1)
    (x_train, y_train), (x_test, y_test) = tf.keras.datasets.fashion_mnist.load_data()
    x_train = x_train.reshape(-1, 28, 28, 1) / 255.0
    x_test = x_test.reshape(-1, 28, 28, 1) / 255.0
    tf.keras.utils.set_random_seed(config["seed"])
    filters = config["filters"]
    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1)),
            tf.keras.layers.Conv2D(filters, 3, activation="relu"),
            tf.keras.layers.MaxPooling2D(2),
            tf.keras.layers.Conv2D(filters, 3, activation="relu"),
            tf.keras.layers.MaxPooling2D(2),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    report = TuneReportCheckpointCallback(checkpoint_on=[], report_metrics_on="epoch_end")
    model.fit(x_train, y_train, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=0, callbacks=[report])


ray.init(logging_level="error", log_to_driver=False, include_dashboard=False)
tuner = tune.Tuner(
    tune.with_resources(train, {"cpu": 1}),
    param_space={"filters": tune.grid_search([16, 32, 64]), "seed": tune.grid_search([0, 1])},
    tune_config=tune.TuneConfig(metric="val_accuracy", mode="max"),
    run_config=tune.RunConfig(
        name="filters",
        storage_path=str(Path("ray").resolve()),
        verbose=0,
        callbacks=[MLflowLoggerCallback(tracking_uri=os.environ["MLFLOW_TRACKING_URI"], experiment_name="filters")],
    ),
)
results = tuner.fit()
told = {f"{r.config['filters']}/{r.config['seed']}": r.metrics["val_accuracy"] for r in results}
print("RESULT", json.dumps(told))
