"""What recurrent layers return and carry: sequences, states, streams."""

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)

model = keras.Sequential()
model.add(layers.Embedding(input_dim=1000, output_dim=64))
model.add(layers.GRU(256, return_sequences=True))
model.add(layers.GRU(128))
model.add(layers.Dense(10))
model.build((None, None))
model.summary()

# An encoder hands its state to a decoder.
encoder_input = layers.Input(shape=(None,))
encoder_embedded = layers.Embedding(input_dim=1000, output_dim=16)(encoder_input)
output, state = layers.GRU(16, return_state=True, name="encoder")(encoder_embedded)
decoder_input = layers.Input(shape=(None,))
decoder_embedded = layers.Embedding(input_dim=2000, output_dim=16)(decoder_input)
decoder_output = layers.GRU(16, name="decoder")(decoder_embedded, initial_state=[state])
output = layers.Dense(10)(decoder_output)
model = keras.Model([encoder_input, decoder_input], output)
model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
x = [np.random.randint(0, 1000, (32, 7)), np.random.randint(0, 2000, (32, 5))]
model.fit(x, np.random.randint(0, 10, 32), epochs=2, verbose=0)
print(model.predict(x, verbose=0).shape)

# A stateful layer goes on where it stopped.
paragraph1 = np.random.random((20, 10, 50)).astype(np.float32)
paragraph2 = np.random.random((20, 10, 50)).astype(np.float32)
gru_layer = layers.GRU(64, stateful=True)
first = gru_layer(paragraph1)
second = gru_layer(paragraph2)
gru_layer.reset_state()
again = gru_layer(paragraph1)
assert np.allclose(first, again, atol=1e-6)
assert not np.allclose(second, again, atol=1e-3)

# In both directions.
model = keras.Sequential()
model.add(keras.Input(shape=(5, 10)))
model.add(layers.Bidirectional(layers.GRU(64, return_sequences=True)))
model.add(layers.Bidirectional(layers.GRU(32)))
model.add(layers.Dense(10))
model.summary()
