# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The numeric core: plain functions on buffers that the caller owns.

Arrays are float32 or float64, all of one call alike, and C-contiguous unless it says otherwise.
T time steps, B sequences, I inputs, H units, O outputs.  What a function returns is allocated first;
while the numbers are made no Python object is touched, and the GIL is released, unless they are so
few that this would take longer.  Gradients of weights are added to what their buffers hold; every
other output is overwritten.

A recurrent layer runs in one of two ways.  `packed_*` is the fast one: its weights are packed first,
and products and gates are made together (csrc/packed.h).  `gru_*`, which has Cho's variant as well,
and `rnn_*`, for the LSTM and the simple RNN, have separate products and gate loops (csrc/gates.h).
The products are those of csrc/product.h, or BLAS, through SciPy, where `set_isa("blas")` asks for
it.
"""
import ctypes
import os

from scipy.linalg import cython_blas

cimport cython
cimport numpy as cnp
from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset
from scipy.linalg.cython_blas cimport dgemm, dgemv, dnrm2, sgemm, sgemv, snrm2

cnp.import_array()

# Loops take a flag first, jobs take it last: whether the arrays hold doubles (csrc/levels.h).
cdef extern from "csrc/levels.h" nogil:
    ctypedef struct cgru_level:
        const char *name
    ctypedef struct cgru_product:
        Py_ssize_t rows, columns, inner
        int turn_a, turn_b, add
        const void *a
        const void *b
        void *c
        Py_ssize_t a_step, b_step, c_step
    ctypedef struct cgru_sequence:
        int gate_count
        Py_ssize_t steps, batch, inputs, units
        int reverse, ring, keep, from_zero, turned, start_grad
        const void *x
        Py_ssize_t x_row, x_step
        const uint8_t *mask
        Py_ssize_t mask_row, mask_step
        const void *kernel
        const void *recurrent_kernel
        const void *bias
        void *packed
        void *h
        void *c
        const void *drop
        void *read
        void *gates
        Py_ssize_t chunk, gate_steps
        const void *dy
        Py_ssize_t dy_row, dy_step
        void *dh
        void *dc
        void *carry
        void *carry_c
        void *dread
        Py_ssize_t carry_row
        void *dx
        void *dkernel
        void *drecurrent_kernel
        void *dbias
    ctypedef struct cgru_cell:
        int gate_count, bias_rows, kept
        Py_ssize_t (*packed_size)(const cgru_sequence *job) noexcept
        Py_ssize_t (*gates_size)(const cgru_sequence *job) noexcept
    ctypedef struct cgru_update:
        Py_ssize_t size
        void *theta
        const void *grad
        void *slots[3]
        double numbers[5]
    const cgru_level *cgru_levels
    const cgru_level *cgru_active
    Py_ssize_t cgru_rows_size(const cgru_sequence *job)
    void cgru_list_rows(cgru_sequence *job, Py_ssize_t *room)
    int cgru_thread_limit
    double cgru_launch_cost
    int cgru_count_levels()
    unsigned long cgru_flush_subnormals()
    void cgru_restore_mode(unsigned long mode)
    Py_ssize_t cgru_lanes(bint is_double)
    const cgru_cell *cgru_cell_of(int gate_count, bint is_double)
    void cgru_pack(cgru_sequence *job, bint is_double)
    void cgru_forward(cgru_sequence *job, bint is_double)
    void cgru_backward(cgru_sequence *job, bint is_double)
    void cgru_multiply(cgru_product *job, bint is_double)
    void cgru_sgd(cgru_update *job, bint is_double)
    void cgru_rmsprop(cgru_update *job, bint is_double)
    void cgru_adam(cgru_update *job, bint is_double)
    void cgru_nadam(cgru_update *job, bint is_double)
    void cgru_adamax(cgru_update *job, bint is_double)
    void cgru_adagrad(cgru_update *job, bint is_double)
    void cgru_adadelta(cgru_update *job, bint is_double)
    void cgru_lion(cgru_update *job, bint is_double)
    void cgru_blend(cgru_update *job, bint is_double)
    void gru_gates(bint is_double, ...)
    void gru_gates_grad(bint is_double, ...)
    void cho_reset(bint is_double, ...)
    void cho_update(bint is_double, ...)
    void cho_update_grad(bint is_double, ...)
    void cho_reset_grad(bint is_double, ...)
    void lstm_gates(bint is_double, ...)
    void lstm_gates_grad(bint is_double, ...)
    void simple_gates(bint is_double, ...)
    void simple_gates_grad(bint is_double, ...)
    void sum_rows(bint is_double, ...)
    void sigmoid_array(bint is_double, ...)
    void tanh_array(bint is_double, ...)
    int finite_array(bint is_double, ...)

cdef extern from "csrc/blas_threads.h" nogil:
    void cgru_begin_product(double work)
    void cgru_end_product()
    void cgru_use_blas_threads(size_t get, size_t set)
    void cgru_survive_forks()


# ---- How to compute ------------------------------------------------------------------------------

cdef bint use_blas = False


def isa_levels():
    """The ways to compute that this machine has: "blas" for the matrix products (with the best
    level for the rest), then the instruction levels of its CPU, the plainest first."""
    return ["blas"] + [cgru_levels[i].name.decode() for i in range(cgru_count_levels())]


def isa():
    """The one in use."""
    return "blas" if use_blas else cgru_active.name.decode()


cpdef int packs() noexcept:
    """A number for the instruction level that the packed kernels run at; 0: BLAS is to be used."""
    return 0 if use_blas else 1 + <int>(cgru_active - cgru_levels)


def set_isa(str name):
    """Use `name`, one of `isa_levels()`, in the whole process."""
    global cgru_active, use_blas
    levels = isa_levels()
    if name not in levels:
        raise ValueError(f"instruction level (CGRU_ISA): this CPU runs {', '.join(levels)}; "
                         f"got {name!r}")
    use_blas = name == "blas"
    cgru_active = &cgru_levels[len(levels) - 2 if use_blas else levels.index(name) - 1]


set_isa(os.environ.get("CGRU_ISA") or isa_levels()[len(isa_levels()) - 1])


def get_num_threads():
    """The most threads that one call shares its work among."""
    return cgru_thread_limit


def set_launch_cost(double cycles):
    """What the plan takes starting other threads to cost; 0 shares whatever can be shared.

    Returns what it was: for tests, since results depend on neither."""
    global cgru_launch_cost
    before = cgru_launch_cost
    cgru_launch_cost = cycles
    return before


def set_num_threads(int threads):
    """Set that number, at least 1."""
    global cgru_thread_limit
    require(threads >= 1, "set_num_threads: at least 1")
    cgru_thread_limit = threads


# ---- The threads of BLAS ---------------------------------------------------------------------

def _find_blas_threads():
    """Tell csrc/blas_threads.h how to ask SciPy's BLAS for its number of threads, if it is OpenBLAS."""
    # A symbol is looked up in the libraries that cython_blas was linked with, too.
    library = ctypes.CDLL(cython_blas.__file__)
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("", "64_"):
            get = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            change = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
            if get is not None and change is not None:
                cgru_use_blas_threads(ctypes.cast(get, ctypes.c_void_p).value,
                                      ctypes.cast(change, ctypes.c_void_p).value)
                return


_find_blas_threads()
cgru_survive_forks()


# ---- Arguments -----------------------------------------------------------------------------------

cdef int require(bint condition, str message) except -1:
    if not condition:
        raise ValueError(message)
    return 0


cdef inline bint has_shape(cnp.ndarray array, int ndim, Py_ssize_t first, Py_ssize_t second=1,
                           Py_ssize_t third=1) noexcept:
    """Whether `array` is C-contiguous with these dimensions."""
    return (cnp.PyArray_NDIM(array) == ndim and cnp.PyArray_IS_C_CONTIGUOUS(array)
            and cnp.PyArray_DIM(array, 0) == first
            and (ndim < 2 or cnp.PyArray_DIM(array, 1) == second)
            and (ndim < 3 or cnp.PyArray_DIM(array, 2) == third))


cdef void *data(str where, str name, cnp.ndarray array, int kind, int ndim, Py_ssize_t first,
                Py_ssize_t second=1, Py_ssize_t third=1) except? NULL:
    """The elements of `array`, which must be of dtype `kind`, C-contiguous and of this shape."""
    if array is None:
        raise TypeError(f"{where}: {name}: expected an array, got None")
    if not has_shape(array, ndim, first, second, third):
        raise ValueError(
            f"{where}: shapes do not agree: {name}: expected a C-contiguous array of shape "
            f"{(first, second, third)[:ndim]}, got {(<object>array).shape}")
    if cnp.PyArray_TYPE(array) != kind or not cnp.PyArray_ISALIGNED(array):
        raise ValueError(f"{where}: {name}: expected the dtype of the first array, "
                         f"got {(<object>array).dtype}")
    return cnp.PyArray_DATA(array)


cdef void *data_or_null(str where, str name, cnp.ndarray array, int kind, int ndim,
                        Py_ssize_t first, Py_ssize_t second=1, Py_ssize_t third=1) except? NULL:
    """The same of an array that may be None."""
    return NULL if array is None else data(where, name, array, kind, ndim, first, second, third)


cdef void *elements(str where, cnp.ndarray array, int kind, Py_ssize_t size) except NULL:
    """Those of a C-contiguous array of any shape."""
    require(cnp.PyArray_ISCARRAY_RO(array) and cnp.PyArray_TYPE(array) == kind
            and cnp.PyArray_SIZE(array) == size,
            f"{where}: expected C-contiguous arrays of one dtype whose shapes agree")
    return cnp.PyArray_DATA(array)


cdef int real_kind(str where, cnp.ndarray array) except -1:
    """NPY_FLOAT or NPY_DOUBLE, whichever `array` has."""
    if array is None:
        raise TypeError(f"{where}: expected an array, got None")
    cdef int kind = cnp.PyArray_TYPE(array)
    if kind != cnp.NPY_FLOAT and kind != cnp.NPY_DOUBLE:
        raise ValueError(f"{where}: expected float32 or float64, got {(<object>array).dtype}")
    return kind


cdef Py_ssize_t dim(cnp.ndarray array, int axis) except -1:
    if array is None:
        raise TypeError("kernels: expected an array, got None")
    if axis >= cnp.PyArray_NDIM(array):
        raise ValueError(f"kernels: expected at least {axis + 1} dimensions, "
                         f"got shape {(<object>array).shape}")
    return cnp.PyArray_DIM(array, axis)


cdef inline void *at(void *start, bint is_double, Py_ssize_t index) noexcept nogil:
    """The address of an element."""
    return <char *>start + index * (8 if is_double else 4)


cdef int require_blas_int(Py_ssize_t size) except -1:
    if size > INT_MAX:
        raise ValueError(f"a matrix of {size} rows is more than BLAS can count; "
                         "use smaller batches or shorter sequences")
    return 0


# ---- Products of row-major matrices --------------------------------------------------------------

cdef void blas_gemm(bint d, char op_a, char op_b, int m, int n, int k, const void *a, int lda,
                    const void *b, int ldb, bint add, void *c, int ldc) noexcept nogil:
    cdef float one_s = 1, beta_s = add
    cdef double one_d = 1, beta_d = add
    if d:
        dgemm(&op_a, &op_b, &m, &n, &k, &one_d, <double *>a, &lda, <double *>b, &ldb, &beta_d,
              <double *>c, &ldc)
    else:
        sgemm(&op_a, &op_b, &m, &n, &k, &one_s, <float *>a, &lda, <float *>b, &ldb, &beta_s,
              <float *>c, &ldc)


cdef void blas_gemv(bint d, char op_a, int m, int n, const void *a, int lda, const void *x,
                    int step_x, bint add, void *y, int step_y) noexcept nogil:
    cdef float one_s = 1, beta_s = add
    cdef double one_d = 1, beta_d = add
    if d:
        dgemv(&op_a, &m, &n, &one_d, <double *>a, &lda, <double *>x, &step_x, &beta_d,
              <double *>y, &step_y)
    else:
        sgemv(&op_a, &m, &n, &one_s, <float *>a, &lda, <float *>x, &step_x, &beta_s,
              <float *>y, &step_y)


cdef void blas_product(cgru_product *p, bint d) noexcept nogil:
    """BLAS counts by columns, so it is asked for c' = op(b)' op(a)'.  A single row or column of c
    is a product of a matrix and a vector, at which `gemm` is slow."""
    cdef char as_is = c"N", turned = c"T"
    cdef int m = <int>p.rows, n = <int>p.columns, k = <int>p.inner
    cdef int lda = <int>p.a_step, ldb = <int>p.b_step, ldc = <int>p.c_step
    cgru_begin_product(<double>p.rows * p.columns * p.inner)
    if m == 1 and p.turn_b:
        blas_gemv(d, turned, k, n, p.b, ldb, p.a, lda if p.turn_a else 1, p.add, p.c, 1)
    elif m == 1:
        blas_gemv(d, as_is, n, k, p.b, ldb, p.a, lda if p.turn_a else 1, p.add, p.c, 1)
    elif n == 1 and p.turn_a:
        blas_gemv(d, as_is, m, k, p.a, lda, p.b, 1 if p.turn_b else ldb, p.add, p.c, ldc)
    elif n == 1:
        blas_gemv(d, turned, k, m, p.a, lda, p.b, 1 if p.turn_b else ldb, p.add, p.c, ldc)
    else:
        blas_gemm(d, turned if p.turn_b else as_is, turned if p.turn_a else as_is, n, m, k,
                  p.b, ldb, p.a, lda, p.add, p.c, ldc)
    cgru_end_product()


cdef void product(bint d, bint turn_a, bint turn_b, Py_ssize_t rows, Py_ssize_t columns,
                  Py_ssize_t inner, const void *a, Py_ssize_t a_step, const void *b,
                  Py_ssize_t b_step, bint add, void *c, Py_ssize_t c_step) noexcept nogil:
    """c [rows, columns] (+)= op(a) op(b); `step` is the distance between a matrix's rows."""
    cdef cgru_product job
    cdef Py_ssize_t row
    if inner == 0:
        for row in range(0 if add else rows):
            memset(at(c, d, row * c_step), 0, columns * (8 if d else 4))
        return
    job.rows, job.columns, job.inner = rows, columns, inner
    job.turn_a, job.turn_b, job.add = turn_a, turn_b, add
    job.a, job.b, job.c = a, b, c
    job.a_step, job.b_step, job.c_step = a_step, b_step, c_step
    if use_blas:
        blas_product(&job, d)
    else:
        cgru_multiply(&job, d)


def matmul(cnp.ndarray a, cnp.ndarray b, cnp.ndarray c):
    """c [N, O] = a [N, I] b [I, O]: each row is the same whatever the other rows are."""
    cdef int kind = real_kind("matmul", a)
    cdef Py_ssize_t N = dim(a, 0), I = dim(b, 0), O = dim(b, 1)
    cdef void *a_ = data("matmul", "a", a, kind, 2, N, I)
    cdef void *b_ = data("matmul", "b", b, kind, 2, I, O)
    cdef void *c_ = data("matmul", "c", c, kind, 2, N, O)
    require_blas_int(N)
    if N:
        with nogil:
            product(kind == cnp.NPY_DOUBLE, False, False, N, O, I, a_, I, b_, O, False, c_, O)


# ---- Dense ---------------------------------------------------------------------------------------

def dense_forward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray bias):
    """Returns y [N, O] = x [N, I] kernel [I, O] + bias [O]; bias may be None.

    x may lie in memory in any way, but is copied where it is not C-contiguous.
    """
    cdef int kind = real_kind("dense_forward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t N = dim(x, 0), I = dim(kernel, 0), O = dim(kernel, 1), i
    x = cnp.PyArray_GETCONTIGUOUS(x)
    cdef void *x_ = data("dense_forward", "x", x, kind, 2, N, I)
    cdef void *kernel_ = data("dense_forward", "kernel", kernel, kind, 2, I, O)
    cdef void *bias_ = data_or_null("dense_forward", "bias", bias, kind, 1, O)
    cdef cnp.npy_intp[2] dims = [N, O]
    cdef cnp.ndarray y = cnp.PyArray_EMPTY(2, dims, kind, 0)
    cdef void *y_ = cnp.PyArray_DATA(y)
    require_blas_int(N)
    if N == 0:
        return y
    with nogil:
        if bias_ != NULL:
            for i in range(N):
                memcpy(at(y_, d, i * O), bias_, O * (8 if d else 4))
        product(d, False, False, N, O, I, x_, I, kernel_, O, bias_ != NULL, y_, O)
    return y


def dense_backward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray dy not None,
                   bint needs_input_grad, cnp.ndarray dkernel, cnp.ndarray dbias):
    """From dy [N, O], which may lie in memory in any way: returns dx [N, I], or None where it is
    not needed, and adds to dkernel [I, O] and dbias [O], which may be None: of frozen weights."""
    cdef int kind = real_kind("dense_backward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t N = dim(x, 0), I = dim(kernel, 0), O = dim(kernel, 1)
    x, dy = cnp.PyArray_GETCONTIGUOUS(x), cnp.PyArray_GETCONTIGUOUS(dy)
    cdef void *x_ = data("dense_backward", "x", x, kind, 2, N, I)
    cdef void *kernel_ = data("dense_backward", "kernel", kernel, kind, 2, I, O)
    cdef void *dy_ = data("dense_backward", "dy", dy, kind, 2, N, O)
    cdef void *dkernel_ = data_or_null("dense_backward", "dkernel", dkernel, kind, 2, I, O)
    cdef void *dbias_ = data_or_null("dense_backward", "dbias", dbias, kind, 1, O)
    cdef cnp.npy_intp[2] dims = [N, I]
    cdef cnp.ndarray dx = cnp.PyArray_EMPTY(2, dims, kind, 0) if needs_input_grad else None
    cdef void *dx_ = NULL if dx is None else cnp.PyArray_DATA(dx)
    require_blas_int(N)
    if N == 0:
        return dx
    with nogil:
        if dkernel_ != NULL:
            product(d, True, False, I, O, N, x_, I, dy_, O, True, dkernel_, O)
        if dbias_ != NULL:
            sum_rows(d, N, O, dy_, O, dbias_)
        if dx_ != NULL:
            product(d, False, True, N, I, O, dy_, O, kernel_, O, False, dx_, I)
    return dx


# ---- GRU, separate products and gates ------------------------------------------------------------

cdef int check_dimensions(str where, Py_ssize_t T, Py_ssize_t B, Py_ssize_t I,
                          Py_ssize_t H) except -1:
    if not (T > 0 and B > 0 and I > 0 and H > 0):
        raise ValueError(f"{where}: every dimension must be at least 1")
    return require_blas_int(T * B)


def gru_forward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray recurrent_kernel,
                cnp.ndarray bias, cnp.ndarray mask, bint reverse,
                cnp.ndarray h, cnp.ndarray gates, cnp.ndarray work):
    """A whole GRU sequence (Cho et al. 2014, arXiv 1406.1078; gates in the order z, r, n).

    Parameters
    ----------
    x : [T, B, I]
    kernel : [I, 3H]
    recurrent_kernel : [H, 3H]
    bias : [2, 3H] or [1, 3H]
        Two rows (input, recurrent) ask for the variant with the reset gate after the product
        with the recurrent kernel, one row for Cho's original.  Zeros for a layer without bias.
    mask : [T, B] of uint8, or None
        Where it is 0 the state stays as it was.
    reverse : bool
        Walk the time axis from its end.
    h : [T + 1, B, H], in and out
        The states.  In: the initial state, at 0 (at T if reversed).  Out: the state after the
        step that read x[t], at t + 1 (at t if reversed).
    gates : [T, B, 4H], out
        n, z, r, and the part of n that the reset gate governs; see csrc/gates.h.
    work : [B, 3H], scratch
    """
    cdef int kind = real_kind("gru_forward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t T = dim(x, 0), B = dim(x, 1), I = dim(x, 2), H = dim(h, 2)
    cdef Py_ssize_t s, t, before, after
    cdef bint reset_after = dim(bias, 0) == 2
    cdef void *x_ = data("gru_forward", "x", x, kind, 3, T, B, I)
    cdef void *w = data("gru_forward", "kernel", kernel, kind, 2, I, 3 * H)
    cdef void *u = data("gru_forward", "recurrent_kernel", recurrent_kernel, kind, 2, H, 3 * H)
    cdef void *b = data("gru_forward", "bias", bias, kind, 2, 2 if reset_after else 1, 3 * H)
    cdef uint8_t *masks = <uint8_t *>data_or_null("gru_forward", "mask", mask, cnp.NPY_UINT8, 2, T, B)
    cdef void *states = data("gru_forward", "h", h, kind, 3, T + 1, B, H)
    cdef void *all_gates = data("gru_forward", "gates", gates, kind, 3, T, B, 4 * H)
    cdef void *hu = data("gru_forward", "work", work, kind, 2, B, 3 * H)
    cdef uint8_t *m = NULL
    cdef void *g
    cdef void *old
    cdef void *new
    cdef unsigned long mode
    check_dimensions("gru_forward", T, B, I, H)
    with nogil:
        mode = cgru_flush_subnormals()
        # The input projection of all steps: blocks 1 to 3 of gates.
        product(d, False, False, T * B, 3 * H, I, x_, I, w, 3 * H, False, at(all_gates, d, H),
                4 * H)
        for s in range(T):
            t = T - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            g = at(all_gates, d, t * B * 4 * H)
            old, new = at(states, d, before * B * H), at(states, d, after * B * H)
            if masks != NULL:
                m = masks + t * B
            if reset_after:
                product(d, False, False, B, 3 * H, H, old, H, u, 3 * H, False, hu, 3 * H)
                gru_gates(d, B, H, b, m, hu, old, g, new)
            else:
                product(d, False, False, B, 2 * H, H, old, H, u, 3 * H, True, at(g, d, H), 4 * H)
                cho_reset(d, B, H, b, old, g)
                product(d, False, False, B, H, H, at(g, d, 3 * H), 4 * H, at(u, d, 2 * H), 3 * H,
                        True, g, 4 * H)
                cho_update(d, B, H, m, old, g, new)
        cgru_restore_mode(mode)


def gru_backward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray recurrent_kernel,
                 cnp.ndarray mask, bint reverse, cnp.ndarray h, cnp.ndarray gates,
                 cnp.ndarray dy, cnp.ndarray dh, cnp.ndarray dx, cnp.ndarray dkernel,
                 cnp.ndarray drecurrent_kernel, cnp.ndarray dbias, cnp.ndarray work):
    """The gradients of a whole GRU sequence; arguments not listed here as in `gru_forward`.

    Parameters
    ----------
    gates : [T, B, 4H], in and out
        As `gru_forward` left them; they become their own gradients, so a second call with the
        same buffer is an error that cannot be seen.
    dy : [T, B, H] or None
        Gradient of the loss with respect to the state after each step.
    dh : [B, H], in and out
        In: gradient with respect to the last state (besides dy).  Out: to the initial state.
    dx : [T, B, I] or None
        None where nobody uses it.
    dkernel, drecurrent_kernel, dbias
        Like the weights; added to.  The first two may be None: of frozen weights.
    work : [B + 2, 3H], scratch
    """
    cdef int kind = real_kind("gru_backward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t T = dim(x, 0), B = dim(x, 1), I = dim(x, 2), H = dim(h, 2)
    cdef Py_ssize_t s, t, before
    cdef bint reset_after = dim(dbias, 0) == 2
    cdef void *x_ = data("gru_backward", "x", x, kind, 3, T, B, I)
    cdef void *w = data("gru_backward", "kernel", kernel, kind, 2, I, 3 * H)
    cdef void *u = data("gru_backward", "recurrent_kernel", recurrent_kernel, kind, 2, H, 3 * H)
    cdef uint8_t *masks = <uint8_t *>data_or_null("gru_backward", "mask", mask, cnp.NPY_UINT8, 2, T, B)
    cdef void *states = data("gru_backward", "h", h, kind, 3, T + 1, B, H)
    cdef void *all_gates = data("gru_backward", "gates", gates, kind, 3, T, B, 4 * H)
    cdef void *all_dy = data_or_null("gru_backward", "dy", dy, kind, 3, T, B, H)
    cdef void *carry = data("gru_backward", "dh", dh, kind, 2, B, H)
    cdef void *dx_ = data_or_null("gru_backward", "dx", dx, kind, 3, T, B, I)
    cdef void *dw = data_or_null("gru_backward", "dkernel", dkernel, kind, 2, I, 3 * H)
    cdef void *du = data_or_null("gru_backward", "drecurrent_kernel", drecurrent_kernel, kind, 2,
                                 H, 3 * H)
    cdef void *db = data("gru_backward", "dbias", dbias, kind, 2, 2 if reset_after else 1, 3 * H)
    cdef void *drh = data("gru_backward", "work", work, kind, 2, B + 2, 3 * H)
    cdef void *sums = at(drh, d, B * 3 * H)
    cdef uint8_t *m = NULL
    cdef void *dy_ = NULL
    cdef void *g
    cdef void *old
    cdef unsigned long mode
    check_dimensions("gru_backward", T, B, I, H)
    with nogil:
        mode = cgru_flush_subnormals()
        memset(sums, 0, 4 * H * (8 if d else 4))
        for s in range(T):
            t = s if reverse else T - 1 - s
            before = t + 1 if reverse else t
            g, old = at(all_gates, d, t * B * 4 * H), at(states, d, before * B * H)
            if masks != NULL:
                m = masks + t * B
            if all_dy != NULL:
                dy_ = at(all_dy, d, t * B * H)
            if reset_after:
                gru_gates_grad(d, B, H, m, old, dy_, g, carry, sums)
                product(d, False, True, B, H, 3 * H, at(g, d, H), 4 * H, u, 3 * H, True, carry, H)
            else:
                cho_update_grad(d, B, H, m, old, dy_, g, carry, sums)
                product(d, False, True, B, H, H, g, 4 * H, at(u, d, 2 * H), 3 * H, False, drh, H)
                cho_reset_grad(d, B, H, old, drh, g, carry, sums)
                product(d, False, True, B, H, 2 * H, at(g, d, H), 4 * H, u, 3 * H, True, carry, H)

        # The weights, each as one product over all steps and sequences.
        g = all_gates
        old = at(states, d, B * H if reverse else 0)
        if du != NULL and reset_after:
            product(d, True, False, H, 3 * H, T * B, old, H, at(g, d, H), 4 * H, True, du, 3 * H)
        elif du != NULL:
            product(d, True, False, H, 2 * H, T * B, old, H, at(g, d, H), 4 * H, True, du, 3 * H)
            product(d, True, False, H, H, T * B, at(g, d, 3 * H), 4 * H, g, 4 * H,
                    True, at(du, d, 2 * H), 3 * H)
        if dw != NULL:
            product(d, True, False, I, 2 * H, T * B, x_, I, at(g, d, H), 4 * H, True, dw, 3 * H)
            product(d, True, False, I, H, T * B, x_, I, g, 4 * H, True, at(dw, d, 2 * H), 3 * H)
        sum_rows(d, 1, 2 * H, at(sums, d, H), 0, db)
        sum_rows(d, 1, H, sums, 0, at(db, d, 2 * H))
        if reset_after:
            sum_rows(d, 1, 3 * H, at(sums, d, H), 0, at(db, d, 3 * H))
        if dx_ != NULL:
            product(d, False, True, T * B, I, 2 * H, at(g, d, H), 4 * H, w, 3 * H, False, dx_, I)
            product(d, False, True, T * B, I, H, g, 4 * H, at(w, d, 2 * H), 3 * H, True, dx_, I)
        cgru_restore_mode(mode)


# ---- LSTM and simple RNN -------------------------------------------------------------------------

def rnn_forward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray recurrent_kernel, cnp.ndarray bias,
                cnp.ndarray mask, bint reverse, cnp.ndarray h, cnp.ndarray c, cnp.ndarray gates):
    """A whole sequence of an LSTM (gates in the order i, f, g, o) or, without c, of a simple RNN.

    G is 4 for the LSTM and 1 for the simple RNN; arguments not listed here as in `gru_forward`.

    Parameters
    ----------
    kernel : [I, GH]
    recurrent_kernel : [H, GH]
    bias : [GH]
        Zeros for a layer without bias.
    c : [T + 1, B, H], in and out, or None
        The LSTM's cells, as the states.
    gates : [T, B, GH], out
    """
    cdef int kind = real_kind("rnn_forward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t T = dim(x, 0), B = dim(x, 1), I = dim(x, 2), H = dim(h, 2)
    cdef Py_ssize_t W = H if c is None else 4 * H
    cdef Py_ssize_t s, t, before, after
    cdef void *x_ = data("rnn_forward", "x", x, kind, 3, T, B, I)
    cdef void *w = data("rnn_forward", "kernel", kernel, kind, 2, I, W)
    cdef void *u = data("rnn_forward", "recurrent_kernel", recurrent_kernel, kind, 2, H, W)
    cdef void *b = data("rnn_forward", "bias", bias, kind, 1, W)
    cdef uint8_t *masks = <uint8_t *>data_or_null("rnn_forward", "mask", mask, cnp.NPY_UINT8, 2, T, B)
    cdef void *states = data("rnn_forward", "h", h, kind, 3, T + 1, B, H)
    cdef void *cells = data_or_null("rnn_forward", "c", c, kind, 3, T + 1, B, H)
    cdef void *all_gates = data("rnn_forward", "gates", gates, kind, 3, T, B, W)
    cdef uint8_t *m = NULL
    cdef void *g
    cdef void *old
    cdef void *new
    cdef unsigned long mode
    check_dimensions("rnn_forward", T, B, I, H)
    with nogil:
        mode = cgru_flush_subnormals()
        product(d, False, False, T * B, W, I, x_, I, w, W, False, all_gates, W)
        for s in range(T):
            t = T - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            before, after = before * B * H, after * B * H
            g, old, new = at(all_gates, d, t * B * W), at(states, d, before), at(states, d, after)
            if masks != NULL:
                m = masks + t * B
            product(d, False, False, B, W, H, old, H, u, W, True, g, W)
            if cells == NULL:
                simple_gates(d, B, H, b, m, old, g, new)
            else:
                lstm_gates(d, B, H, b, m, old, at(cells, d, before), g, new, at(cells, d, after))
        cgru_restore_mode(mode)


def rnn_backward(cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray recurrent_kernel,
                 cnp.ndarray mask, bint reverse, cnp.ndarray h, cnp.ndarray c, cnp.ndarray gates,
                 cnp.ndarray dy, cnp.ndarray dh, cnp.ndarray dc, cnp.ndarray dx,
                 cnp.ndarray dkernel, cnp.ndarray drecurrent_kernel, cnp.ndarray dbias):
    """The gradients of `rnn_forward`; arguments not listed here as there and in `gru_backward`.

    Parameters
    ----------
    gates : [T, B, GH], in and out
        As `rnn_forward` left them; they become their own gradients, so a second call with the
        same buffer is an error that cannot be seen.
    dh, dc : [B, H], in and out
        In: gradients with respect to the last states (besides dy).  Out: to the initial ones.
        dc is None where c is.
    dkernel, drecurrent_kernel, dbias
        Like the weights; added to.  Each may be None.
    """
    cdef int kind = real_kind("rnn_backward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t T = dim(x, 0), B = dim(x, 1), I = dim(x, 2), H = dim(h, 2)
    cdef Py_ssize_t W = H if c is None else 4 * H
    cdef Py_ssize_t s, t, before, after
    cdef void *x_ = data("rnn_backward", "x", x, kind, 3, T, B, I)
    cdef void *w = data("rnn_backward", "kernel", kernel, kind, 2, I, W)
    cdef void *u = data("rnn_backward", "recurrent_kernel", recurrent_kernel, kind, 2, H, W)
    cdef uint8_t *masks = <uint8_t *>data_or_null("rnn_backward", "mask", mask, cnp.NPY_UINT8, 2, T, B)
    cdef void *states = data("rnn_backward", "h", h, kind, 3, T + 1, B, H)
    cdef void *cells = data_or_null("rnn_backward", "c", c, kind, 3, T + 1, B, H)
    cdef void *all_gates = data("rnn_backward", "gates", gates, kind, 3, T, B, W)
    cdef void *all_dy = data_or_null("rnn_backward", "dy", dy, kind, 3, T, B, H)
    cdef void *carry = data("rnn_backward", "dh", dh, kind, 2, B, H)
    cdef void *carry_c = data_or_null("rnn_backward", "dc", dc, kind, 2, B, H)
    cdef void *dx_ = data_or_null("rnn_backward", "dx", dx, kind, 3, T, B, I)
    cdef void *dw = data_or_null("rnn_backward", "dkernel", dkernel, kind, 2, I, W)
    cdef void *du = data_or_null("rnn_backward", "drecurrent_kernel", drecurrent_kernel, kind, 2,
                                 H, W)
    cdef void *db = data_or_null("rnn_backward", "dbias", dbias, kind, 1, W)
    cdef uint8_t *m = NULL
    cdef void *dy_ = NULL
    cdef void *g
    cdef unsigned long mode
    require((cells == NULL) == (carry_c == NULL), "rnn_backward: dc: expected along with c")
    check_dimensions("rnn_backward", T, B, I, H)
    with nogil:
        mode = cgru_flush_subnormals()
        for s in range(T):
            t = s if reverse else T - 1 - s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            before, after = before * B * H, after * B * H
            g = at(all_gates, d, t * B * W)
            if masks != NULL:
                m = masks + t * B
            if all_dy != NULL:
                dy_ = at(all_dy, d, t * B * H)
            if cells == NULL:
                simple_gates_grad(d, B, H, m, dy_, g, carry)
            else:
                lstm_gates_grad(d, B, H, m, at(cells, d, before), at(cells, d, after), dy_, g,
                                carry, carry_c)
            product(d, False, True, B, H, W, g, W, u, W, True, carry, H)

        # The weights, each as one product over all steps and sequences.
        g = all_gates
        if du != NULL:
            product(d, True, False, H, W, T * B, at(states, d, B * H if reverse else 0), H, g, W,
                    True, du, W)
        if dw != NULL:
            product(d, True, False, I, W, T * B, x_, I, g, W, True, dw, W)
        if db != NULL:
            sum_rows(d, T * B, W, g, W, db)
        if dx_ != NULL:
            product(d, False, True, T * B, I, W, g, W, w, W, False, dx_, I)
        cgru_restore_mode(mode)


# ---- Recurrent cells, packed ---------------------------------------------------------------------

cdef inline void *aligned(void *buffer) noexcept:
    """The first whole cache line in a buffer that has room for one more than is needed."""
    return <void *>((<size_t>buffer + 63) & ~<size_t>63)


cdef Py_ssize_t slack(bint d) noexcept:
    return 8 if d else 16


cdef int set_chunk(cgru_sequence *job, const cgru_cell *cell) noexcept:
    """How many steps have their input projection made together, and how many gates has room for:
    half a megabyte of it, so that it is still in the cache when it is used; but 192 rows at least,
    which are full tiles, and enough for each reading of the weights."""
    cdef Py_ssize_t steps = max(
        131072 // ((cell.kept * job.units + job.inputs) * job.batch), 192 // job.batch)
    job.chunk = 1 if steps < 1 else job.steps if steps > job.steps else steps
    job.gate_steps = job.steps if job.keep else job.chunk
    return 0


cpdef (Py_ssize_t, Py_ssize_t, Py_ssize_t) packed_sizes(
        int gate_count, Py_ssize_t T, Py_ssize_t B, Py_ssize_t I, Py_ssize_t H, bint double,
        bint keep) except *:
    """The numbers of elements of the buffers `packed`, `gates` and `work` below, of the cell that
    has so many gates: the GRU 3, the LSTM 4, the simple RNN 1."""
    cdef cgru_sequence job
    cdef Py_ssize_t packed, work
    cdef const cgru_cell *cell = cgru_cell_of(gate_count, double)
    check_dimensions("x, units", T, B, I, H)
    memset(&job, 0, sizeof(job))
    job.steps, job.batch, job.inputs, job.units, job.keep = T, B, I, H, keep
    set_chunk(&job, cell)
    packed = cell.packed_size(&job) + slack(double)
    job.turned, job.dx = True, &job
    work = cell.packed_size(&job) + 3 * B * carry_row(H, cgru_lanes(double)) + slack(double)
    return (packed, cell.gates_size(&job) + slack(double), work)


cdef inline Py_ssize_t carry_row(Py_ssize_t H, Py_ssize_t lanes) noexcept:
    return (H + 2 * lanes - 1) // (2 * lanes) * 2 * lanes


cdef void *scratch(str where, str name, cnp.ndarray buffer, int kind,
                   Py_ssize_t size) except NULL:
    """The aligned start of a one-dimensional buffer of at least `size` elements."""
    if buffer is None or dim(buffer, 0) < size:
        raise ValueError(f"{where}: {name}: expected at least {size} elements")
    return aligned(data(where, name, buffer, kind, 1, dim(buffer, 0)))


cdef object set_sequence(str where, cgru_sequence *job, cnp.ndarray x, cnp.ndarray mask,
                         int kind):
    """The inputs and the mask of a job: [B, T, ...] with any distances between B and T.

    Returns what the job needs to be kept as long as it lasts.
    """
    cdef Py_ssize_t size = 8 if kind == cnp.NPY_DOUBLE else 4
    cdef cnp.ndarray rows = None
    cdef cnp.npy_intp count
    require(cnp.PyArray_NDIM(x) == 3 and (cnp.PyArray_STRIDE(x, 2) == size or dim(x, 2) == 1)
            and cnp.PyArray_ISALIGNED(x), f"{where}: x: expected [B, T, I] with features together")
    job.batch, job.steps, job.inputs = dim(x, 0), dim(x, 1), dim(x, 2)
    check_dimensions(where, job.steps, job.batch, job.inputs, job.units)
    job.x = cnp.PyArray_DATA(x)
    job.x_row = cnp.PyArray_STRIDE(x, 0) // size
    job.x_step = cnp.PyArray_STRIDE(x, 1) // size
    if mask is not None:
        require(cnp.PyArray_NDIM(mask) == 2 and cnp.PyArray_ITEMSIZE(mask) == 1
                and dim(mask, 0) == job.batch and dim(mask, 1) == job.steps,
                f"{where}: shapes do not agree: mask")
        job.mask = <const uint8_t *>cnp.PyArray_DATA(mask)
        job.mask_row, job.mask_step = cnp.PyArray_STRIDE(mask, 0), cnp.PyArray_STRIDE(mask, 1)
        count = cgru_rows_size(job)
        rows = cnp.PyArray_EMPTY(1, &count, cnp.NPY_INTP, 0)
        cgru_list_rows(job, <Py_ssize_t *>cnp.PyArray_DATA(rows))
    return rows


cpdef object packed_pack(cnp.ndarray kernel, cnp.ndarray recurrent_kernel, cnp.ndarray bias,
                         cnp.ndarray packed, bint recurrent=True):
    """Pack weights for `packed_forward`.

    kernel [I, GH], recurrent_kernel [H, GH]; bias [GH], [2, 3H] for the GRU, or None;
    packed, out: at least `packed_sizes(...)[0]` elements.  The recurrent kernel may be left out for
    a single step from a state of 0.
    """
    cdef cgru_sequence job
    cdef int kind = real_kind("packed_pack", kernel)
    cdef bint d = kind == cnp.NPY_DOUBLE
    memset(&job, 0, sizeof(job))
    job.steps = job.batch = 1
    job.from_zero = not recurrent
    job.inputs, job.units = dim(kernel, 0), dim(recurrent_kernel, 0)
    set_weights("packed_pack", &job, kernel, recurrent_kernel, kind)
    job.bias = bias_data("packed_pack", "bias", &job, bias, kind)
    job.packed = scratch("packed_pack", "packed", packed, kind,
                         cgru_cell_of(job.gate_count, d).packed_size(&job) + slack(d))
    with nogil:
        cgru_pack(&job, d)


cdef int set_weights(str where, cgru_sequence *job, cnp.ndarray kernel,
                     cnp.ndarray recurrent_kernel, int kind) except -1:
    """The weights of a job, whose shapes tell the cell."""
    cdef Py_ssize_t H = job.units, G = dim(kernel, 1) // max(H, 1)
    require(G == 1 or G == 3 or G == 4, f"{where}: shapes do not agree: kernel, recurrent_kernel")
    job.gate_count = <int>G
    job.kernel = data(where, "kernel", kernel, kind, 2, job.inputs, G * H)
    job.recurrent_kernel = data(where, "recurrent_kernel", recurrent_kernel, kind, 2, H, G * H)
    return 0


cdef void *bias_data(str where, str name, cgru_sequence *job, cnp.ndarray bias,
                     int kind) except? NULL:
    cdef Py_ssize_t rows = cgru_cell_of(job.gate_count, False).bias_rows
    cdef Py_ssize_t columns = job.gate_count * job.units
    if rows == 2:
        return data_or_null(where, name, bias, kind, 2, rows, columns)
    return data_or_null(where, name, bias, kind, 1, columns)


cdef int set_states(str where, cgru_sequence *job, cnp.ndarray h, cnp.ndarray c, cnp.ndarray drop,
                    cnp.ndarray read, int kind) except -1:
    """The states of a job, and what the products read of them."""
    cdef Py_ssize_t count = 2 if job.ring else job.steps + 1
    job.h = job.read = data(where, "h", h, kind, 3, count, job.batch, job.units)
    if job.gate_count == 4:
        job.c = data(where, "c", c, kind, 3, count, job.batch, job.units)
    job.drop = data_or_null(where, "drop", drop, kind, 2, job.batch, job.units)
    if job.drop != NULL:
        job.read = data(where, "read", read, kind, 3, count, job.batch, job.units)
    return 0


cpdef object packed_forward(int gate_count, cnp.ndarray x, cnp.ndarray packed, cnp.ndarray mask,
                            bint reverse, bint from_zero, bint keep, cnp.ndarray h, cnp.ndarray c,
                            cnp.ndarray drop, cnp.ndarray read, cnp.ndarray gates):
    """A whole sequence.

    Parameters
    ----------
    gate_count : int
        3: of a GRU (reset_after=True); 4: of an LSTM; 1: of a simple RNN.
    x : [B, T, I], with any distances between sequences and steps
    packed
        From `packed_pack`, at the same instruction level.
    mask : [B, T] of bool or uint8 with any distances, or None
        Where it is 0 the state stays as it was.
    reverse : bool
        Walk the time axis from its end.
    from_zero : bool
        The initial h is 0 (and h says so, too): its product is left out.
    keep : bool
        Keep the gates of all steps for `packed_backward`.
    h : [T + 1, B, H] or [2, B, H], in and out
        The states as in `gru_forward`.  Where there are two only, they are used in turn: in, the
        initial state, at 0; out, the last one, at T % 2.
    c : like h, in and out
        The LSTM's cells; None for the others.
    drop : [B, H], or None
        Factors on what the gates read of h, the same at every step: dropout.
    read : like h, or None without `drop`; in and out
        h times `drop`.
    gates : at least `packed_sizes(...)[1]` elements, out
    """
    cdef cgru_sequence job
    cdef int kind = real_kind("packed_forward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef const cgru_cell *cell = cgru_cell_of(gate_count, d)
    memset(&job, 0, sizeof(job))
    require(cell.gate_count == gate_count, "packed_forward: gate_count: expected 1, 3 or 4")
    job.gate_count, job.units = gate_count, dim(h, 2)
    rows = set_sequence("packed_forward", &job, x, mask, kind)
    job.ring = dim(h, 0) != job.steps + 1
    require(not (job.ring and keep), "packed_forward: keep: expected all T + 1 states in h")
    job.reverse, job.from_zero, job.keep = reverse, from_zero, keep
    set_states("packed_forward", &job, h, c, drop, read, kind)
    job.packed = scratch("packed_forward", "packed", packed, kind,
                         cell.packed_size(&job) + slack(d))
    set_chunk(&job, cell)
    job.gates = scratch("packed_forward", "gates", gates, kind, cell.gates_size(&job) + slack(d))
    with nogil:
        cgru_forward(&job, d)


cpdef object packed_backward(
        cnp.ndarray x, cnp.ndarray kernel, cnp.ndarray recurrent_kernel, cnp.ndarray mask,
        bint reverse, bint from_zero, cnp.ndarray h, cnp.ndarray c, cnp.ndarray drop,
        cnp.ndarray read, cnp.ndarray gates, cnp.ndarray dy, cnp.ndarray dh, cnp.ndarray dc,
        bint start_grad, cnp.ndarray dx, cnp.ndarray dkernel, cnp.ndarray drecurrent_kernel,
        cnp.ndarray dbias, cnp.ndarray work):
    """The gradients of `packed_forward`; arguments not listed here as there.

    Parameters
    ----------
    kernel, recurrent_kernel : as given to `packed_pack`
    h, c, read : [T + 1, B, H]
    gates, in and out
        As `packed_forward` left them; they become their own gradients.
    dy : [B, T, H] with any distances between sequences and steps, or None
        Gradient of the loss with respect to h after each step.
    dh, dc : [B, H], in and out
        In: gradients with respect to the last h (besides dy) and c.  Out, if `start_grad`: to the
        initial ones.  dc is None where c is.
    dx : [T, B, I], out, or None
    dkernel, drecurrent_kernel, dbias
        Like the weights; added to.  dbias may be None, or all: of frozen weights.
    work : at least `packed_sizes(...)[2]` elements, scratch
    """
    cdef cgru_sequence job
    cdef int kind = real_kind("packed_backward", x)
    cdef bint d = kind == cnp.NPY_DOUBLE
    cdef Py_ssize_t T, B, I, H, columns, packed, size = 8 if d else 4
    cdef const cgru_cell *cell
    memset(&job, 0, sizeof(job))
    job.units = dim(h, 2)
    rows = set_sequence("packed_backward", &job, x, mask, kind)
    T, B, I, H = job.steps, job.batch, job.inputs, job.units
    set_weights("packed_backward", &job, kernel, recurrent_kernel, kind)
    cell, columns = cgru_cell_of(job.gate_count, d), job.gate_count * H
    job.reverse, job.from_zero, job.keep, job.turned = reverse, from_zero, True, True
    job.start_grad = start_grad
    set_states("packed_backward", &job, h, c, drop, read, kind)
    job.gate_steps = T
    job.gates = scratch("packed_backward", "gates", gates, kind, cell.gates_size(&job) + slack(d))
    if dy is not None:
        require(cnp.PyArray_NDIM(dy) == 3 and dim(dy, 0) == B and dim(dy, 1) == T
                and dim(dy, 2) == H and cnp.PyArray_TYPE(dy) == kind
                and (cnp.PyArray_STRIDE(dy, 2) == size or H == 1) and cnp.PyArray_ISALIGNED(dy),
                "packed_backward: shapes do not agree: dy")
        job.dy = cnp.PyArray_DATA(dy)
        job.dy_row, job.dy_step = (cnp.PyArray_STRIDE(dy, 0) // size,
                                   cnp.PyArray_STRIDE(dy, 1) // size)
    job.dh = data("packed_backward", "dh", dh, kind, 2, B, H)
    if job.c != NULL:
        job.dc = data("packed_backward", "dc", dc, kind, 2, B, H)
    job.dx = data_or_null("packed_backward", "dx", dx, kind, 3, T, B, I)
    job.dkernel = data_or_null("packed_backward", "dkernel", dkernel, kind, 2, I, columns)
    job.drecurrent_kernel = data_or_null("packed_backward", "drecurrent_kernel",
                                         drecurrent_kernel, kind, 2, H, columns)
    require((dkernel is None) == (drecurrent_kernel is None) and (dkernel is not None or
                                                                  dbias is None),
            "packed_backward: dkernel, drecurrent_kernel, dbias: expected all or none")
    job.dbias = bias_data("packed_backward", "dbias", &job, dbias, kind)
    packed = cell.packed_size(&job)
    job.carry_row = carry_row(H, cgru_lanes(d))
    job.packed = scratch("packed_backward", "work", work, kind,
                         packed + 3 * B * job.carry_row + slack(d))
    job.carry = at(job.packed, d, packed)
    job.dread = at(job.carry, d, B * job.carry_row)
    job.carry_c = at(job.dread, d, B * job.carry_row)
    with nogil:
        if job.dx != NULL and job.mask != NULL:
            memset(job.dx, 0, T * B * I * size)  # where no row writes to it
        cgru_pack(&job, d)
        cgru_backward(&job, d)


cdef class Workspace:
    """What a recurrent layer keeps from call to call: large buffers, and its weights, packed.

    Fresh memory costs a page fault for every 4 kB, as much as the arithmetic on it.  A buffer is
    here only while no call uses it, so that calls from several threads never share one.

    Parameters
    ----------
    gate_count : int
        As in `packed_forward`.
    """
    cdef int gate_count
    cdef cnp.ndarray passing, kept, packed, work
    cdef tuple known  # of weights, packed for predictions: key, buffer

    def __init__(self, int gate_count):
        self.gate_count = gate_count

    def __reduce__(self):
        return Workspace, (self.gate_count,)  # a copy, here or elsewhere, begins without buffers

    def forward(self, cnp.ndarray x, start, cnp.ndarray mask, cnp.ndarray drop, list weights,
                bint reverse, bint all_states, bint keep):
        """A sequence through `packed_forward`.

        Parameters
        ----------
        x : [B, T, I], copied where features do not lie together
        start : sequence of [B, H], or None for zeros
            The initial states: h, and c of an LSTM.
        drop : [B, H], or None
        weights
            Variables: the kernel, the recurrent kernel, and the bias, if there is one.
        all_states, keep : bool
            Whether those after all steps are wanted; whether `backward` will be called.

        Returns
        -------
        h : [T + 1, B, H] or [2, B, H]
            As in `packed_forward`.
        last : [B, H]
            That of h which is the last.
        c, last_c
            The same of an LSTM; None for others.
        read : as there; None without `drop`
        gates : ndarray or None
            For `backward`, if it will be called.
        """
        cdef int kind = real_kind("Workspace.forward", x)
        cdef bint d = kind == cnp.NPY_DOUBLE
        x = features_together(x)
        cdef cnp.ndarray kernel = weights[0]._value, recurrent_kernel = weights[1]._value
        cdef cnp.ndarray bias = weights[2]._value if len(weights) > 2 else None
        cdef Py_ssize_t B = dim(x, 0), T = dim(x, 1), I = dim(x, 2), H = dim(recurrent_kernel, 0)
        cdef (Py_ssize_t, Py_ssize_t, Py_ssize_t) sizes = packed_sizes(self.gate_count, T, B, I, H,
                                                                       d, keep)
        if I != dim(kernel, 0):
            raise ValueError(f"x: expected {dim(kernel, 0)} features, got {I}")
        # Two states are enough where nobody asks for those in between.
        all_states = all_states or keep or T == 1
        cdef cnp.npy_intp[3] dims = [T + 1 if all_states else 2, B, H]
        cdef Py_ssize_t first = T if reverse and all_states else 0
        cdef Py_ssize_t end = T % 2 if not all_states else 0 if reverse else T
        cdef cnp.ndarray h = states_from(dims, kind, first, None if start is None else start[0])
        cdef cnp.ndarray c = None, read = None, packed, gates
        if self.gate_count == 4:
            c = states_from(dims, kind, first, None if start is None else start[1])
        if drop is not None:
            read = cnp.PyArray_EMPTY(3, dims, kind, 0)
            read[first] = h[first] * drop
        if keep:
            packed = room(self.packed, sizes[0], kind)
            self.packed = None
            packed_pack(kernel, recurrent_kernel, bias, packed, T > 1 or start is not None)
            gates, self.kept = self.kept, None
        else:
            packed = self.packed_once(weights, kernel, recurrent_kernel, bias, sizes[0], kind)
            gates, self.passing = self.passing, None
        gates = room(gates, sizes[1], kind)
        packed_forward(self.gate_count, x, packed, mask, reverse, start is None, keep, h, c, drop,
                       read, gates)
        last, last_c = h[end], None if c is None else c[end]
        if keep:
            self.packed = packed
            return h, last, c, last_c, read, gates
        self.passing = gates
        return h, last, c, last_c, read, None

    cdef cnp.ndarray packed_once(self, list weights, kernel, recurrent_kernel, bias,
                                 Py_ssize_t size, int kind):
        """The packed weights, made anew where they, or the instruction level, have changed."""
        cdef tuple known = self.known
        cdef list key = [packs()]
        for weight in weights:
            key.append(weight._memory.stamp)
        if known is None or known[0] != key:
            packed = room(None, size, kind)
            packed_pack(kernel, recurrent_kernel, bias, packed, True)
            known = self.known = key, packed
        return known[1]

    def backward(self, cnp.ndarray x, bint from_zero, cnp.ndarray mask, cnp.ndarray drop,
                 list weights, bint reverse, cnp.ndarray h, cnp.ndarray c, cnp.ndarray read,
                 cnp.ndarray gates, cnp.ndarray dy, cnp.ndarray dh, cnp.ndarray dc,
                 bint needs_input_grad, bint needs_start_grad, bint frozen):
        """Its `packed_backward`, once for each `forward`: `gates` are used up.

        Weights that are frozen get no gradient.

        Returns dx [T, B, I], or None where it is not needed.
        """
        cdef int kind = real_kind("Workspace.backward", x)
        cdef Py_ssize_t B = dim(x, 0), T = dim(x, 1), I = dim(x, 2)
        cdef cnp.npy_intp[3] dims = [T, B, I]
        x = features_together(x)
        if dy is not None:
            dy = features_together(dy)
        cdef cnp.ndarray dx = cnp.PyArray_EMPTY(3, dims, kind, 0) if needs_input_grad else None
        cdef cnp.ndarray work = room(self.work, packed_sizes(
            self.gate_count, T, B, I, dim(h, 2), kind == cnp.NPY_DOUBLE, True)[2], kind)
        self.work = None
        packed_backward(x, weights[0]._value, weights[1]._value, mask, reverse, from_zero, h, c,
                        drop, read, gates, dy, dh, dc, needs_start_grad, dx,
                        None if frozen else weights[0].grad,
                        None if frozen else weights[1].grad,
                        None if frozen or len(weights) < 3 else weights[2].grad, work)
        self.work, self.kept = work, gates
        return dx


cdef cnp.ndarray states_from(cnp.npy_intp *dims, int kind, Py_ssize_t first, start):
    """Room for states [count, B, H], of which one, at `first`, is `start`, or zeros for None."""
    cdef cnp.ndarray states = cnp.PyArray_EMPTY(3, dims, kind, 0)
    cdef Py_ssize_t size = dims[1] * dims[2]
    cdef bint d = kind == cnp.NPY_DOUBLE
    if start is None:
        memset(at(cnp.PyArray_DATA(states), d, first * size), 0, size * (8 if d else 4))
    else:
        states[first] = start
    return states


cdef struct Stage:
    # A layer of a StreamProgram: recurrent, if `units` of the job are not 0, or a Dense.
    cgru_sequence job
    Py_ssize_t inputs, outputs
    int activation  # 0: linear, 1: sigmoid, 2: tanh
    const void *kernel
    const void *bias
    void *y


cdef class StreamProgram:
    """One time step after the other through a chain of layers, with all buffers made before.

    Parameters
    ----------
    layers : list of tuple
        For a GRU (reset_after=True), an LSTM or a simple RNN, of tanh and sigmoid, its weights and
        None; for a Dense its weights and its activation: "linear", "sigmoid" or "tanh".
    batch : int
    """
    cdef Stage stages[16]
    cdef int count, kind
    cdef bint busy
    cdef Py_ssize_t batch, inputs
    cdef list layers, weights, buffers, key
    cdef readonly list states  # of each recurrent layer: a list of [2, B, H], which begin with one

    def __init__(self, list layers, Py_ssize_t batch):
        require(0 < len(layers) <= 16, "StreamProgram: expected 1 to 16 layers")
        cdef cnp.ndarray kernel, buffer
        cdef Stage *stage
        cdef int i
        self.layers, self.batch, self.count = layers, batch, len(layers)
        self.weights = [weight for weights, _ in layers for weight in weights]
        self.buffers, self.states, self.key = [], [], None
        for i in range(self.count):
            weights, activation = layers[i]
            stage = &self.stages[i]
            memset(stage, 0, sizeof(Stage))
            kernel = weights[0]._value
            self.kind = real_kind("StreamProgram", kernel)
            stage.inputs, stage.outputs = dim(kernel, 0), dim(kernel, 1)
            require(i == 0 or stage.inputs == self.stages[i - 1].outputs,
                    "StreamProgram: shapes do not agree")
            if activation is None:
                stage.job.gate_count = stage.outputs // dim(weights[1]._value, 0)
                stage.job.units = stage.outputs = stage.outputs // stage.job.gate_count
                buffer = self.zeros((2, batch, stage.outputs))
                states = [buffer]
                stage.job.h = stage.job.read = cnp.PyArray_DATA(buffer)
                stage.y = at(stage.job.h, self.kind == cnp.NPY_DOUBLE, batch * stage.outputs)
                if stage.job.gate_count == 4:
                    buffer = self.zeros((2, batch, stage.outputs))
                    states.append(buffer)
                    stage.job.c = cnp.PyArray_DATA(buffer)
                self.states.append(states)
            else:
                stage.activation = ("linear", "sigmoid", "tanh").index(activation)
                buffer = self.zeros((batch, stage.outputs))
                self.buffers.append(buffer)
                stage.y = cnp.PyArray_DATA(buffer)
        self.inputs = self.stages[0].inputs

    cdef cnp.ndarray zeros(self, tuple shape):
        cdef cnp.npy_intp[3] dims
        cdef int axis
        for axis in range(len(shape)):
            dims[axis] = shape[axis]
        return cnp.PyArray_ZEROS(len(shape), dims, self.kind, 0)

    cdef bint is_current(self) except *:
        """Whether the weights and the instruction level are those that it was prepared for."""
        cdef Py_ssize_t i
        if self.key is None or self.key[0] != packs():
            return False
        for i in range(len(self.weights)):
            if self.key[i + 1] != self.weights[i]._memory.stamp:
                return False
        return True

    cdef int prepare(self) except -1:
        """Pack the weights, and note where everything lies."""
        cdef bint d = self.kind == cnp.NPY_DOUBLE
        cdef cnp.ndarray packed, gates, bias
        cdef Stage *stage
        cdef int i
        cdef list kept = [], key = [packs(), *(weight._memory.stamp for weight in self.weights)]
        for i in range(self.count):
            weights, _ = self.layers[i]
            stage = &self.stages[i]
            matrices = 2 if stage.job.units else 1
            bias = weights[matrices]._value if len(weights) > matrices else None
            if stage.job.units == 0:
                stage.kernel = data("StreamProgram", "kernel", weights[0]._value, self.kind, 2,
                                    stage.inputs, stage.outputs)
                stage.bias = data_or_null("StreamProgram", "bias", bias, self.kind, 1,
                                          stage.outputs)
                kept += [weights[0]._value, bias]
                continue
            sizes = packed_sizes(stage.job.gate_count, 1, self.batch, stage.inputs, stage.outputs,
                                 d, False)
            packed, gates = self.zeros((sizes[0],)), self.zeros((sizes[1],))
            packed_pack(weights[0]._value, weights[1]._value, bias, packed)
            stage.job.packed = aligned(cnp.PyArray_DATA(packed))
            stage.job.gates = aligned(cnp.PyArray_DATA(gates))
            stage.job.steps = stage.job.chunk = stage.job.gate_steps = 1
            stage.job.batch, stage.job.inputs = self.batch, stage.inputs
            stage.job.x_row = stage.job.x_step = stage.inputs
            kept += [packed, gates]
        self.buffers = self.buffers[:sum(activation is not None for _, activation in self.layers)]
        self.buffers += kept
        self.key = key
        return 0

    def step(self, x):
        """The output [B, O] for x [B, I]; None where x is no array that it can read as it is."""
        cdef cnp.ndarray array, y
        cdef cnp.npy_intp[2] dims
        cdef bint d = self.kind == cnp.NPY_DOUBLE
        if not cnp.PyArray_CheckExact(x):
            return None
        array = x
        if (cnp.PyArray_TYPE(array) != self.kind or not cnp.PyArray_ISCARRAY_RO(array)
                or not has_shape(array, 2, self.batch, self.inputs)
                or not finite_array(d, self.batch * self.inputs, cnp.PyArray_DATA(array))):
            return None
        dims = [self.batch, self.stages[self.count - 1].outputs]
        y = cnp.PyArray_EMPTY(2, dims, self.kind, 0)
        self.all_steps(1, cnp.PyArray_DATA(array), cnp.PyArray_DATA(y))
        return y

    def run(self, cnp.ndarray x):
        """The outputs [T, B, O] for x [T, B, I]."""
        cdef cnp.npy_intp[3] dims = [dim(x, 0), self.batch, self.stages[self.count - 1].outputs]
        cdef void *x_ = data("StreamProgram", "x", x, self.kind, 3, dims[0], self.batch,
                             self.inputs)
        cdef cnp.ndarray y = cnp.PyArray_EMPTY(3, dims, self.kind, 0)
        self.all_steps(dims[0], x_, cnp.PyArray_DATA(y))
        return y

    def acquire(self, bint blocking=False):
        """As of a lock: whether no other thread is at work, which then has to wait."""
        if self.busy:
            return False
        self.busy = True
        return True

    def release(self):
        """Let others work."""
        self.busy = False

    cdef int all_steps(self, Py_ssize_t T, void *x, void *y) except -1:
        cdef bint d = self.kind == cnp.NPY_DOUBLE
        cdef Py_ssize_t t, O = self.stages[self.count - 1].outputs
        if self.busy:
            raise RuntimeError("stream: another thread is using it: expected a stream for each")
        self.busy = True
        try:
            if not self.is_current():
                self.prepare()
            with nogil:
                for t in range(T):
                    self.work(at(x, d, t * self.batch * self.inputs), at(y, d, t * self.batch * O),
                              d)
        finally:
            self.busy = False
        return 0

    cdef void work(self, void *x, void *y, bint d) noexcept nogil:
        cdef Stage *stage
        cdef Py_ssize_t i, row, size = 8 if d else 4, B = self.batch
        for i in range(self.count):
            stage = &self.stages[i]
            if stage.job.units:
                stage.job.x = x
                cgru_forward(&stage.job, d)
                memcpy(stage.job.h, stage.y, B * stage.outputs * size)
                if stage.job.c != NULL:
                    memcpy(stage.job.c, at(stage.job.c, d, B * stage.outputs),
                           B * stage.outputs * size)
            else:
                if stage.bias != NULL:
                    for row in range(B):
                        memcpy(at(stage.y, d, row * stage.outputs), stage.bias,
                               stage.outputs * size)
                product(d, False, False, B, stage.outputs, stage.inputs, x, stage.inputs,
                        stage.kernel, stage.outputs, stage.bias != NULL, stage.y, stage.outputs)
                if stage.activation == 1:
                    sigmoid_array(d, B * stage.outputs, stage.y, stage.y)
                elif stage.activation == 2:
                    tanh_array(d, B * stage.outputs, stage.y, stage.y)
            x = stage.y
        memcpy(y, x, B * self.stages[self.count - 1].outputs * size)


cdef cnp.ndarray features_together(cnp.ndarray x):
    """[B, T, features] as it is, if the features of a step are neighbours; a copy if not."""
    require(cnp.PyArray_NDIM(x) == 3, "x, dy: expected [B, T, features]")
    return x if cnp.PyArray_STRIDE(x, 2) == cnp.PyArray_ITEMSIZE(x) else x.copy()


cdef cnp.ndarray room(cnp.ndarray buffer, Py_ssize_t size, int kind):
    """A buffer of at least `size` elements: the given one, if it will do."""
    cdef cnp.npy_intp wanted = size
    if buffer is None or dim(buffer, 0) < size or cnp.PyArray_TYPE(buffer) != kind:
        return cnp.PyArray_EMPTY(1, &wanted, kind, 0)
    return buffer


# ---- Optimizers: in place, over the flat parameter vector [P] ------------------------------------

cdef int set_update(str where, cgru_update *job, cnp.ndarray theta, cnp.ndarray grad,
                    cnp.ndarray first, cnp.ndarray second, cnp.ndarray third) except -1:
    """The arrays of a job; returns their kind.  Slots may be None."""
    cdef int kind = real_kind(where, theta)
    job.size = dim(theta, 0)
    job.theta = data(where, "theta", theta, kind, 1, job.size)
    job.grad = data(where, "grad", grad, kind, 1, job.size)
    job.slots[0] = data_or_null(where, "slot 1", first, kind, 1, job.size)
    job.slots[1] = data_or_null(where, "slot 2", second, kind, 1, job.size)
    job.slots[2] = data_or_null(where, "slot 3", third, kind, 1, job.size)
    return kind


def sgd(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray velocity, double learning_rate,
        double momentum, bint nesterov):
    """theta -= learning_rate grad, with momentum where `velocity` is not None."""
    cdef cgru_update job
    cdef int kind = set_update("sgd", &job, theta, grad, velocity, None, None)
    job.numbers = [learning_rate, momentum, nesterov, 0, 0]
    with nogil:
        cgru_sgd(&job, kind == cnp.NPY_DOUBLE)


def rmsprop(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray square not None, cnp.ndarray mean,
            cnp.ndarray velocity, double learning_rate, double rho, double momentum,
            double epsilon):
    """RMSprop; `mean` is None unless centered, `velocity` is None without momentum."""
    cdef cgru_update job
    cdef int kind = set_update("rmsprop", &job, theta, grad, square, mean, velocity)
    job.numbers = [learning_rate, rho, momentum, epsilon, 0]
    with nogil:
        cgru_rmsprop(&job, kind == cnp.NPY_DOUBLE)


def adam(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m not None, cnp.ndarray v not None,
         cnp.ndarray v_max, double step_size, double beta_1, double beta_2, double epsilon):
    """Adam (Kingma and Ba 2015); `step_size` holds both bias corrections; `v_max` is None
    unless amsgrad."""
    cdef cgru_update job
    cdef int kind = set_update("adam", &job, theta, grad, m, v, v_max)
    job.numbers = [step_size, beta_1, beta_2, epsilon, 0]
    with nogil:
        cgru_adam(&job, kind == cnp.NPY_DOUBLE)


def nadam(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m not None, cnp.ndarray v not None,
          double step_size, double ahead, double beta_1, double beta_2, double epsilon):
    """Adam that goes by step_size m + ahead grad."""
    cdef cgru_update job
    cdef int kind = set_update("nadam", &job, theta, grad, m, v, None)
    job.numbers = [step_size, beta_1, beta_2, epsilon, ahead]
    with nogil:
        cgru_nadam(&job, kind == cnp.NPY_DOUBLE)


def adamax(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m not None, cnp.ndarray u not None,
           double step_size, double beta_1, double beta_2, double epsilon):
    """Adamax (Kingma and Ba 2015); `step_size` holds the bias correction."""
    cdef cgru_update job
    cdef int kind = set_update("adamax", &job, theta, grad, m, u, None)
    job.numbers = [step_size, beta_1, beta_2, epsilon, 0]
    with nogil:
        cgru_adamax(&job, kind == cnp.NPY_DOUBLE)


def adagrad(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray square not None,
            double learning_rate, double epsilon):
    """Adagrad (Duchi et al. 2011); `square` is the sum of squares."""
    cdef cgru_update job
    cdef int kind = set_update("adagrad", &job, theta, grad, square, None, None)
    job.numbers = [learning_rate, epsilon, 0, 0, 0]
    with nogil:
        cgru_adagrad(&job, kind == cnp.NPY_DOUBLE)


def adadelta(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray square not None,
             cnp.ndarray step_square not None, double learning_rate, double rho, double epsilon):
    """Adadelta (Zeiler 2012); the slots are the mean squares of gradients and of steps."""
    cdef cgru_update job
    cdef int kind = set_update("adadelta", &job, theta, grad, square, step_square, None)
    job.numbers = [learning_rate, rho, epsilon, 0, 0]
    with nogil:
        cgru_adadelta(&job, kind == cnp.NPY_DOUBLE)


def lion(cnp.ndarray theta, cnp.ndarray grad, cnp.ndarray m not None, double learning_rate,
         double beta_1, double beta_2):
    """Lion (Chen et al. 2023)."""
    cdef cgru_update job
    cdef int kind = set_update("lion", &job, theta, grad, m, None, None)
    job.numbers = [learning_rate, beta_1, beta_2, 0, 0]
    with nogil:
        cgru_lion(&job, kind == cnp.NPY_DOUBLE)


def blend(cnp.ndarray y, cnp.ndarray x, double keep, double take):
    """y [N] = keep y + take x; x [N] may be y."""
    cdef cgru_update job
    cdef int kind = set_update("blend", &job, y, x, None, None, None)
    job.numbers = [keep, take, 0, 0, 0]
    with nogil:
        cgru_blend(&job, kind == cnp.NPY_DOUBLE)


def clear(cnp.ndarray x):
    """Set x [N] to 0."""
    cdef int kind = real_kind("clear", x)
    cdef Py_ssize_t N = dim(x, 0), size = 8 if kind == cnp.NPY_DOUBLE else 4
    cdef void *x_ = data("clear", "x", x, kind, 1, N)
    with nogil:
        memset(x_, 0, N * size)


# ---- Losses --------------------------------------------------------------------------------------

def squared_error(cnp.ndarray y_true not None, cnp.ndarray y_pred):
    """Returns, for arrays [..., O], the means [...] of (y_pred - y_true)^2 over the last axis, and
    the gradient [..., O] of each with respect to y_pred."""
    cdef int kind = real_kind("squared_error", y_pred), ndim = cnp.PyArray_NDIM(y_pred)
    require(ndim > 0 and cnp.PyArray_TYPE(y_true) == kind
            and cnp.PyArray_SAMESHAPE(y_true, y_pred),
            "squared_error: expected arrays of one dtype and shape")
    y_true, y_pred = cnp.PyArray_GETCONTIGUOUS(y_true), cnp.PyArray_GETCONTIGUOUS(y_pred)
    cdef Py_ssize_t O = dim(y_pred, ndim - 1), N = cnp.PyArray_SIZE(y_pred) // max(O, 1)
    cdef cnp.ndarray values = cnp.PyArray_EMPTY(ndim - 1, cnp.PyArray_DIMS(y_pred), kind, 0)
    cdef cnp.ndarray grad = cnp.PyArray_EMPTY(ndim, cnp.PyArray_DIMS(y_pred), kind, 0)
    cdef void *t = cnp.PyArray_DATA(y_true)
    cdef void *p = cnp.PyArray_DATA(y_pred)
    cdef void *v = cnp.PyArray_DATA(values)
    cdef void *g = cnp.PyArray_DATA(grad)
    with nogil:
        if kind == cnp.NPY_DOUBLE:
            squares(N, O, <double *>t, <double *>p, <double *>v, <double *>g)
        else:
            squares(N, O, <float *>t, <float *>p, <float *>v, <float *>g)
    return values, grad


cdef void squares(Py_ssize_t N, Py_ssize_t O, const cython.floating *y_true,
                  const cython.floating *y_pred, cython.floating *values,
                  cython.floating *grad) noexcept nogil:
    cdef cython.floating total, factor = <cython.floating>(2.0 / O)
    cdef Py_ssize_t i, o
    for i in range(N):
        total = 0
        for o in range(i * O, i * O + O):
            grad[o] = y_pred[o] - y_true[o]
            total += grad[o] * grad[o]
            grad[o] *= factor
        values[i] = total / O


def mean_loss(cnp.ndarray values, cnp.ndarray grad not None, cnp.ndarray weight):
    """The mean of values [...] times weight [...], which may be None; grad [..., O] is turned, in
    place, from the gradients of the values into that of their mean."""
    cdef int kind = real_kind("mean_loss", values)
    cdef Py_ssize_t N = cnp.PyArray_SIZE(values), O = cnp.PyArray_SIZE(grad) // max(N, 1)
    require(N > 0, "mean_loss: expected at least one value")
    cdef void *v = elements("mean_loss", values, kind, N)
    cdef void *g = elements("mean_loss", grad, kind, N * O)
    cdef void *w = NULL if weight is None else elements("mean_loss", weight, kind, N)
    cdef double mean
    with nogil:
        if kind == cnp.NPY_DOUBLE:
            mean = weighted_mean(N, O, <double *>v, <double *>g, <double *>w)
        else:
            mean = weighted_mean(N, O, <float *>v, <float *>g, <float *>w)
    return mean


cdef double weighted_mean(Py_ssize_t N, Py_ssize_t O, const cython.floating *values,
                          cython.floating *grad, const cython.floating *weight) noexcept nogil:
    cdef double total = 0
    cdef cython.floating factor = 1
    cdef Py_ssize_t i, o
    for i in range(N):
        if weight != NULL:
            factor = weight[i]
        total += <double>values[i] * factor
        for o in range(i * O, i * O + O):
            grad[o] *= factor / N
    return total / N


# ---- Small ones ----------------------------------------------------------------------------------

def norm(cnp.ndarray x):
    """The Euclidean norm of x [N]."""
    cdef int kind = real_kind("norm", x), unit = 1, n = <int>dim(x, 0)
    require_blas_int(dim(x, 0))
    cdef void *x_ = data("norm", "x", x, kind, 1, n)
    cdef double length = 0
    if n > 0:
        with nogil:
            length = (dnrm2(&n, <double *>x_, &unit) if kind == cnp.NPY_DOUBLE
                      else snrm2(&n, <float *>x_, &unit))
    return length


def is_ready(value, cnp.dtype dtype not None):
    """Whether `value` is a C-contiguous ndarray of `dtype` (float32 or float64), not empty, and
    holds neither NaN nor infinity."""
    return (cnp.PyArray_CheckExact(value) and cnp.PyArray_TYPE(value) == dtype.type_num
            and cnp.PyArray_ISCARRAY_RO(value) and cnp.PyArray_SIZE(value) > 0
            and all_finite(value))


cpdef bint all_finite(cnp.ndarray x) except *:
    """Whether a C-contiguous array x of any shape holds neither NaN nor infinity."""
    cdef int kind = real_kind("all_finite", x)
    cdef Py_ssize_t N = cnp.PyArray_SIZE(x)
    cdef void *x_ = cnp.PyArray_DATA(x)
    cdef int answer
    require(cnp.PyArray_IS_C_CONTIGUOUS(x), "all_finite: expected a C-contiguous array")
    if N < 1024:
        return finite_array(kind == cnp.NPY_DOUBLE, N, x_) != 0
    with nogil:
        answer = finite_array(kind == cnp.NPY_DOUBLE, N, x_)
    return answer != 0


def sigmoid(cnp.ndarray x, cnp.ndarray y):
    """y [N] = 1 / (1 + exp(-x)), within 4 units in the last place."""
    cdef int kind = real_kind("sigmoid", x)
    cdef Py_ssize_t N = dim(x, 0)
    cdef void *x_ = data("sigmoid", "x", x, kind, 1, N)
    cdef void *y_ = data("sigmoid", "y", y, kind, 1, N)
    with nogil:
        sigmoid_array(kind == cnp.NPY_DOUBLE, N, x_, y_)


def tanh(cnp.ndarray x, cnp.ndarray y):
    """y [N] = tanh(x), within 4 units in the last place."""
    cdef int kind = real_kind("tanh", x)
    cdef Py_ssize_t N = dim(x, 0)
    cdef void *x_ = data("tanh", "x", x, kind, 1, N)
    cdef void *y_ = data("tanh", "y", y, kind, 1, N)
    with nogil:
        tanh_array(kind == cnp.NPY_DOUBLE, N, x_, y_)
