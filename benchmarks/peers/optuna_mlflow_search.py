"""A search with Optuna in one process, an MLflow run a trial, no pruning: SAMPLER_SEED N_TRIALS SECONDS EPOCHS."""

import sys

import mlflow
import numpy as np
import optuna
import tensorflow as tf

SAMPLER_SEED, N_TRIALS, SECONDS, EPOCHS = map(int, sys.argv[1:5])
data = np.load("data.npz")
x_train, y_train, x_val, y_val = data["x_train"] / 255.0, data["y_train"], data["x_val"] / 255.0, data["y_val"]


def objective(trial):
    filters = trial.suggest_categorical("filters", [8, 16, 32, 64])
    dropout = trial.suggest_float("dropout", 0.0, 0.5)
    learning_rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(0)
    model = tf.keras.Sequential(
        [
            tf.keras.Input((28, 28, 1)),
            tf.keras.layers.Conv2D(filters, 3, activation="relu"),
            tf.keras.layers.MaxPooling2D(2),
            tf.keras.layers.Dropout(dropout),
            tf.keras.layers.Conv2D(filters, 3, activation="relu"),
            tf.keras.layers.MaxPooling2D(2),
            tf.keras.layers.Dropout(dropout),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(128, activation="relu"),
            tf.keras.layers.Dropout(dropout),
            tf.keras.layers.Dense(10, activation="softmax"),
        ]
    )
    adam = tf.keras.optimizers.Adam(learning_rate)
    model.compile(optimizer=adam, loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    with mlflow.start_run(nested=True, run_name=f"trial {trial.number}"):
        mlflow.log_params(trial.params)
        history = model.fit(x_train, y_train, epochs=EPOCHS, validation_data=(x_val, y_val), verbose=0).history
        for epoch in range(EPOCHS):
            mlflow.log_metrics({name: values[epoch] for name, values in history.items()}, step=epoch)
    return history["val_accuracy"][-1]


with mlflow.start_run(run_name="search"):
    sampler = optuna.samplers.TPESampler(seed=SAMPLER_SEED)
    study = optuna.create_study(
        study_name="search", direction="maximize", sampler=sampler, storage="sqlite:///optuna.db"
    )
    study.optimize(objective, n_trials=N_TRIALS, timeout=SECONDS)
    mlflow.log_metric("best_accuracy", study.best_value)
