"""Functional models that branch, of cgru or of Keras, and the order of their layers in Keras."""


def skip(library):
    x, dense = library.Input((4,), name="x"), library.layers.Dense
    side = dense(4, name="skip")(x)
    h = dense(4, name="second")(dense(4, name="first")(x))
    return library.Model(x, library.layers.Add(name="add")([side, h]))


def sequence_to_sequence(library):
    layers = library.layers
    source = library.Input((None,), dtype="int32", name="source")
    target = library.Input((None,), dtype="int32", name="target")
    embedded = layers.Embedding(5, 3, name="words", mask_zero=True)(source)
    _, state = layers.GRU(4, return_state=True, name="encoder")(embedded)
    embedded = layers.Embedding(6, 3, name="others")(target)
    steps = layers.GRU(4, return_sequences=True, name="decoder")(embedded, initial_state=state)
    return library.Model([source, target], layers.Dense(6, name="out")(steps))


def shared(library):
    layers = library.layers
    a, b = library.Input((3,), name="a"), library.Input((3,), name="b")
    both = layers.Dense(3, name="both")
    deep = both(layers.Dense(3, name="deep")(b))
    joined = layers.Concatenate(name="joined")([both(a), deep])
    return library.Model([b, a], [layers.Dense(1, name="late")(joined), deep])


def outputs(library):
    layers = library.layers
    x, unused = library.Input((3,), name="x"), library.Input((2,), name="unused")
    early = layers.Dense(2, name="early")(x)
    late = layers.Dense(2, name="late")(layers.Dense(2, name="middle")(x))
    return library.Model([x, unused], {"y": early, "z": late})


ORDERS = {
    skip: ["x", "first", "skip", "second", "add"],
    sequence_to_sequence: ["source", "target", "words", "others", "encoder", "decoder", "out"],
    shared: ["b", "a", "deep", "both", "joined", "late"],
    outputs: ["x", "middle", "unused", "early", "late"],
}
