"""The grid as an Optuna study in one process, an MLflow run a trial: python optuna_mlflow.py EPOCHS."""

import json
import sys

import mlflow
import optuna
import tensorflow as tf

EPOCHS = int(sys.argv[1])
(x_train, y_train), (x_test, y_test) = tf.keras.datasets.fashion_mnist.load_data()
x_train = x_train.reshape(-1, 28, 28, 1) / 255.0
x_test = x_test.reshape(-1, 28, 28, 1) / 255.0
results = {}


def objective(trial):
    filters = trial.suggest_categorical("filters", [16, 32, 64])
    seed = trial.suggest_categorical("seed", [0, 1])
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
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
    with mlflow.start_run(nested=True, run_name=f"trial {trial.number}"):
        mlflow.log_params(trial.params)
        history = model.fit(x_train, y_train, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=0).history
        for epoch in range(EPOCHS):
            mlflow.log_metrics({name: values[epoch] for name, values in history.items()}, step=epoch)
    results[f"{filters}/{seed}"] = history["val_accuracy"][-1]
    return history["val_accuracy"][-1]


with mlflow.start_run(run_name="filters"):
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.GridSampler({"filters": [16, 32, 64], "seed": [0, 1]}),
        storage="sqlite:///optuna.db",
    )
    study.optimize(objective, n_trials=6)
    mlflow.log_metric("best_accuracy", study.best_value)
print("RESULT", json.dumps(results))
