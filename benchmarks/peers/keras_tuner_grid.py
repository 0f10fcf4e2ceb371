"""The grid as a KerasTuner grid search, which tracks trials in its own folder: python keras_tuner_grid.py EPOCHS."""

import json
import sys

import keras
import keras_tuner

EPOCHS = int(sys.argv[1])
(x_train, y_train), (x_test, y_test) = keras.datasets.fashion_mnist.load_data()
x_train = x_train.reshape(-1, 28, 28, 1) / 255.0
x_test = x_test.reshape(-1, 28, 28, 1) / 255.0


def build_model(hp):
    filters = hp.Choice("filters", [16, 32, 64])
    keras.utils.set_random_seed(hp.Choice("seed", [0, 1]))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Conv2D(filters, 3, activation="relu"),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


tuner = keras_tuner.GridSearch(build_model, objective="val_accuracy", directory="tuner", project_name="filters")
tuner.search(x_train, y_train, epochs=EPOCHS, validation_data=(x_test, y_test), verbose=0)
trials = tuner.oracle.get_best_trials(6)
told = {f"{t.hyperparameters['filters']}/{t.hyperparameters['seed']}": t.score for t in trials}
print("RESULT", json.dumps(told))
