"""The course's script for one config, as it prints it, and logged: python course.py FILTERS SEED EPOCHS."""

import json
import sys

import mlflow
import tensorflow as tf

filters, seed, epochs = map(int, sys.argv[1:])
mnist = tf.keras.datasets.fashion_mnist
(training_images, training_labels), (test_images, test_labels) = mnist.load_data()
training_images = training_images.reshape(60000, 28, 28, 1) / 255.0
test_images = test_images.reshape(10000, 28, 28, 1) / 255.0

tf.keras.utils.set_random_seed(seed)
model = tf.keras.models.Sequential(
    [
        tf.keras.layers.Conv2D(filters, (3, 3), activation="relu", input_shape=(28, 28, 1)),
        tf.keras.layers.MaxPooling2D(2, 2),
        tf.keras.layers.Conv2D(filters, (3, 3), activation="relu"),
        tf.keras.layers.MaxPooling2D(2, 2),
        tf.keras.layers.Flatten(),
        tf.keras.layers.Dense(128, activation="relu"),
        tf.keras.layers.Dense(10, activation="softmax"),
    ]
)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])

with mlflow.start_run(run_name=f"filters={filters} seed={seed}"):
    mlflow.log_params({"filters": filters, "seed": seed})
    history = model.fit(training_images, training_labels, epochs=epochs)
    test_loss, test_acc = model.evaluate(test_images, test_labels)
    for epoch in range(epochs):
        mlflow.log_metrics({name: values[epoch] for name, values in history.history.items()}, step=epoch)
    mlflow.log_metrics({"test_loss": test_loss, "test_accuracy": test_acc})
print("RESULT", json.dumps({f"{filters}/{seed}": test_acc}))
