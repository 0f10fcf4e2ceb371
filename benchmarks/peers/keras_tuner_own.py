"""A grid over a network of one's own, with arrays of one's own, by KerasTuner: EPOCHS BATCH_SIZE WIDTHS SEEDS."""

import json
import sys

import keras
import keras_tuner
import numpy as np
from nets import mixer

EPOCHS, BATCH_SIZE = map(int, sys.argv[1:3])
WIDTHS, SEEDS = ([int(value) for value in values.split(",")] for values in sys.argv[3:5])
data = np.load("data.npz")
x_train, y_train, x_test, y_test = data["x_train"] / 255.0, data["y_train"], data["x_test"] / 255.0, data["y_test"]


def build_model(hp):
    width = hp.Choice("width", WIDTHS)
    keras.utils.set_random_seed(hp.Choice("seed", SEEDS))
    model = keras.Sequential([mixer(x_train.shape[1:], 10, width=width), keras.layers.Softmax()])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


tuner = keras_tuner.GridSearch(build_model, objective="val_accuracy", directory="tuner", project_name="own")
given = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "validation_data": (x_test, y_test), "verbose": 0}
tuner.search(x_train, y_train, **given)
trials = tuner.oracle.get_best_trials(len(WIDTHS) * len(SEEDS))
told = {f"{t.hyperparameters['width']}/{t.hyperparameters['seed']}": t.score for t in trials}
print("RESULT", json.dumps(told))
