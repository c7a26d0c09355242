from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import cgru

cgru.utils.set_random_seed(1)
rows, y = load_digits().images / 16, load_digits().target  # each image is a sequence of 8 rows
x, x_test, y, y_test = train_test_split(rows, y, test_size=0.25, stratify=y, random_state=1)
layers = [cgru.layers.GRU(96), cgru.layers.Dropout(0.3), cgru.layers.Dense(10, "softmax")]
model = cgru.Sequential(layers)
model.compile(cgru.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, epochs=40)
loss, accuracy = model.evaluate(x_test, y_test)
