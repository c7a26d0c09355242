# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False
"""The numeric core: plain functions on buffers that the caller owns.

Every array is C-contiguous, float32 or float64 (all of one call alike).  Sequences are time-major:
[T, B, features].  T time steps, B sequences, I inputs, H units, O outputs.  Nothing is allocated
and no Python object is touched while the numbers are made, so the GIL is released throughout.
Gradients of weights are added to what their buffers hold; every other output is overwritten.

The loops over elements are in csrc/body.h, compiled for several instruction levels; the matrix
products are BLAS, through SciPy.
"""
import ctypes
import os

from scipy.linalg import cython_blas

from libc.limits cimport INT_MAX
from libc.stdint cimport uint8_t
from libc.string cimport memcpy
from scipy.linalg.cython_blas cimport daxpy, dgemm, dgemv, dnrm2, saxpy, sgemm, sgemv, snrm2

ctypedef fused real:
    float
    double

# The loops take, before their own arguments, a pointer to the element type (csrc/levels.h).
cdef extern from "csrc/levels.h" nogil:
    ctypedef struct cgru_level:
        const char *name
    const cgru_level *cgru_levels
    const cgru_level *cgru_active
    int cgru_count_levels()
    void gru_gates(const void *like, ...)
    void gru_gates_grad(const void *like, ...)
    void cho_reset(const void *like, ...)
    void cho_update(const void *like, ...)
    void cho_update_grad(const void *like, ...)
    void cho_reset_grad(const void *like, ...)
    void sgd_update(const void *like, ...)
    void rmsprop_update(const void *like, ...)
    void adam_update(const void *like, ...)
    void sigmoid_array(const void *like, ...)
    void tanh_array(const void *like, ...)
    int finite_array(const void *like, ...)

cdef extern from "csrc/threads.h" nogil:
    int cgru_begin_product(double work)
    void cgru_end_product(int small)
    void cgru_use_blas_threads(size_t get, size_t set)


# ---- The instruction level -----------------------------------------------------------------------

def isa_levels():
    """The instruction levels that this CPU runs, the plainest first."""
    return [cgru_levels[i].name.decode() for i in range(cgru_count_levels())]


def isa():
    """The instruction level in use."""
    return cgru_active.name.decode()


def set_isa(str name):
    """Use the instruction level `name`, one of `isa_levels()`, in the whole process."""
    global cgru_active
    levels = isa_levels()
    if name not in levels:
        raise ValueError(f"instruction level (CGRU_ISA): this CPU runs {', '.join(levels)}; "
                         f"got {name!r}")
    cgru_active = &cgru_levels[levels.index(name)]


set_isa(os.environ.get("CGRU_ISA") or cgru_levels[cgru_count_levels() - 1].name.decode())


# ---- The threads of BLAS ---------------------------------------------------------------------

def _find_blas_threads():
    """Tell csrc/threads.h how to ask SciPy's BLAS for its number of threads, if it is OpenBLAS."""
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


# ---- BLAS for row-major matrices -----------------------------------------------------------------

cdef inline void gemm(char op_a, char op_b, int m, int n, int k, const real *a, int lda,
                      const real *b, int ldb, real beta, real *c, int ldc) noexcept nogil:
    cdef real one = 1
    if real is float:
        sgemm(&op_a, &op_b, &m, &n, &k, &one, <float *>a, &lda, <float *>b, &ldb, &beta, c, &ldc)
    else:
        dgemm(&op_a, &op_b, &m, &n, &k, &one, <double *>a, &lda, <double *>b, &ldb, &beta, c, &ldc)


cdef inline void gemv(char op_a, int m, int n, const real *a, int lda, const real *x, int step_x,
                      real beta, real *y, int step_y) noexcept nogil:
    cdef real one = 1
    if real is float:
        sgemv(&op_a, &m, &n, &one, <float *>a, &lda, <float *>x, &step_x, &beta, y, &step_y)
    else:
        dgemv(&op_a, &m, &n, &one, <double *>a, &lda, <double *>x, &step_x, &beta, y, &step_y)


cdef inline void matmul(bint transpose_a, bint transpose_b, Py_ssize_t rows, Py_ssize_t columns,
                        Py_ssize_t inner, const real *a, Py_ssize_t lda, const real *b,
                        Py_ssize_t ldb, real beta, real *c, Py_ssize_t ldc) noexcept nogil:
    """c [rows, columns] = op(a) op(b) + beta c; `ld` is the distance between a matrix's rows.

    BLAS counts by columns, so it is asked for c' = op(b)' op(a)'.  A single row or column of c is
    a product of a matrix and a vector, at which `gemm` is slow.
    """
    cdef int m = <int>rows, n = <int>columns, k = <int>inner
    cdef int ld_a = <int>lda, ld_b = <int>ldb, ld_c = <int>ldc
    cdef char as_is = c"N", turned = c"T"
    cdef int small = cgru_begin_product(<double>rows * columns * inner)
    if m == 1:
        if transpose_b:
            gemv(turned, k, n, b, ld_b, a, ld_a if transpose_a else 1, beta, c, 1)
        else:
            gemv(as_is, n, k, b, ld_b, a, ld_a if transpose_a else 1, beta, c, 1)
    elif n == 1:
        if transpose_a:
            gemv(as_is, m, k, a, ld_a, b, 1 if transpose_b else ld_b, beta, c, ld_c)
        else:
            gemv(turned, k, m, a, ld_a, b, 1 if transpose_b else ld_b, beta, c, ld_c)
    else:
        gemm(turned if transpose_b else as_is, turned if transpose_a else as_is, n, m, k,
             b, ld_b, a, ld_a, beta, c, ld_c)
    cgru_end_product(small)


cdef void add(Py_ssize_t size, const real *x, real *y) noexcept nogil:
    """y += x"""
    cdef real one = 1
    cdef int n = <int>size, unit = 1
    if real is float:
        saxpy(&n, &one, <float *>x, &unit, y, &unit)
    else:
        daxpy(&n, &one, <double *>x, &unit, y, &unit)


cdef int require(bint condition, str message) except -1:
    if not condition:
        raise ValueError(message)
    return 0


cdef int require_blas_int(Py_ssize_t size) except -1:
    return require(size <= INT_MAX, f"a matrix of {size} rows is more than BLAS can count; "
                                    "use smaller batches or shorter sequences")


# ---- Dense ---------------------------------------------------------------------------------------

def dense_forward(const real[:, ::1] x, const real[:, ::1] kernel, const real[::1] bias,
                  real[:, ::1] y):
    """y [N, O] = x [N, I] kernel [I, O] + bias [O]; bias may be None."""
    cdef Py_ssize_t N = x.shape[0], I = x.shape[1], O = kernel.shape[1], i
    require(kernel.shape[0] == I and y.shape[0] == N and y.shape[1] == O
            and (bias is None or bias.shape[0] == O), "dense_forward: shapes do not agree")
    require_blas_int(N)
    if N == 0:
        return
    with nogil:
        if bias is not None:
            for i in range(N):
                memcpy(&y[i, 0], &bias[0], O * sizeof(real))
        matmul(False, False, N, O, I, &x[0, 0], I, &kernel[0, 0], O,
                     0 if bias is None else 1, &y[0, 0], O)


def dense_backward(const real[:, ::1] x, const real[:, ::1] kernel, const real[:, ::1] dy,
                   real[:, ::1] dx, real[:, ::1] dkernel, real[::1] dbias):
    """From dy [N, O]: dx [N, I], and added to dkernel [I, O], dbias [O].

    dx may be None where nobody uses it, dbias where there is no bias.
    """
    cdef Py_ssize_t N = x.shape[0], I = x.shape[1], O = kernel.shape[1], i
    require(kernel.shape[0] == I and dy.shape[0] == N and dy.shape[1] == O
            and (dx is None or (dx.shape[0] == N and dx.shape[1] == I))
            and dkernel.shape[0] == I and dkernel.shape[1] == O
            and (dbias is None or dbias.shape[0] == O), "dense_backward: shapes do not agree")
    require_blas_int(N)
    if N == 0:
        return
    with nogil:
        matmul(True, False, I, O, N, &x[0, 0], I, &dy[0, 0], O, 1, &dkernel[0, 0], O)
        if dbias is not None:
            for i in range(N):
                add(O, &dy[i, 0], &dbias[0])
        if dx is not None:
            matmul(False, True, N, I, O, &dy[0, 0], O, &kernel[0, 0], O, 0, &dx[0, 0], I)


# ---- GRU -----------------------------------------------------------------------------------------

cdef int check_gru(name, Py_ssize_t T, Py_ssize_t B, Py_ssize_t I, Py_ssize_t H,
                   tuple found, tuple expected) except -1:
    require(found == expected, f"{name}: shapes do not agree: {found}, expected {expected}")
    require(T > 0 and B > 0 and I > 0 and H > 0, f"{name}: every dimension must be at least 1")
    return require_blas_int(T * B)


def gru_forward(const real[:, :, ::1] x, const real[:, ::1] kernel,
                const real[:, ::1] recurrent_kernel, const real[:, ::1] bias,
                const uint8_t[:, ::1] mask, bint reverse,
                real[:, :, ::1] h, real[:, :, ::1] gates, real[:, ::1] work):
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
        n, z, r, and the part of n that the reset gate governs; see csrc/body.h.
    work : [B, 3H], scratch
    """
    cdef Py_ssize_t T = x.shape[0], B = x.shape[1], I = x.shape[2], H = h.shape[2]
    cdef Py_ssize_t s, t, before, after
    cdef bint reset_after = bias.shape[0] == 2
    cdef const uint8_t *m = NULL
    cdef real *g
    check_gru("gru_forward", T, B, I, H,
              (kernel.shape[0], kernel.shape[1], recurrent_kernel.shape[0],
               recurrent_kernel.shape[1], bias.shape[0], bias.shape[1], h.shape[0], h.shape[1],
               gates.shape[0], gates.shape[1], gates.shape[2], work.shape[0], work.shape[1],
               T if mask is None else mask.shape[0], B if mask is None else mask.shape[1]),
              (I, 3 * H, H, 3 * H, 2 if reset_after else 1, 3 * H, T + 1, B,
               T, B, 4 * H, B, 3 * H, T, B))
    with nogil:
        # The input projection of all steps: blocks 1 to 3 of gates.
        matmul(False, False, T * B, 3 * H, I, &x[0, 0, 0], I, &kernel[0, 0], 3 * H,
                     0, &gates[0, 0, H], 4 * H)
        for s in range(T):
            t = T - 1 - s if reverse else s
            before, after = (t + 1, t) if reverse else (t, t + 1)
            g = &gates[t, 0, 0]
            if mask is not None:
                m = &mask[t, 0]
            if reset_after:
                matmul(False, False, B, 3 * H, H, &h[before, 0, 0], H,
                             &recurrent_kernel[0, 0], 3 * H, 0, &work[0, 0], 3 * H)
                gru_gates(g, B, H, &bias[0, 0], m, &work[0, 0], &h[before, 0, 0], g,
                          &h[after, 0, 0])
            else:
                matmul(False, False, B, 2 * H, H, &h[before, 0, 0], H,
                             &recurrent_kernel[0, 0], 3 * H, 1, g + H, 4 * H)
                cho_reset(g, B, H, &bias[0, 0], &h[before, 0, 0], g)
                matmul(False, False, B, H, H, g + 3 * H, 4 * H,
                             &recurrent_kernel[0, 2 * H], 3 * H, 1, g, 4 * H)
                cho_update(g, B, H, m, &h[before, 0, 0], g, &h[after, 0, 0])


def gru_backward(const real[:, :, ::1] x, const real[:, ::1] kernel,
                 const real[:, ::1] recurrent_kernel, const uint8_t[:, ::1] mask, bint reverse,
                 const real[:, :, ::1] h, real[:, :, ::1] gates, const real[:, :, ::1] dy,
                 real[:, ::1] dh, real[:, :, ::1] dx, real[:, ::1] dkernel,
                 real[:, ::1] drecurrent_kernel, real[:, ::1] dbias, real[:, ::1] work):
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
        Like the weights; added to.
    work : [B + 2, 3H], scratch
    """
    cdef Py_ssize_t T = x.shape[0], B = x.shape[1], I = x.shape[2], H = h.shape[2]
    cdef Py_ssize_t s, t, j, before
    cdef bint reset_after = dbias.shape[0] == 2
    cdef const uint8_t *m = NULL
    cdef const real *d = NULL
    cdef const real *first
    cdef const real *u = &recurrent_kernel[0, 0]
    cdef real *g
    cdef real *sums
    check_gru("gru_backward", T, B, I, H,
              (kernel.shape[0], kernel.shape[1], recurrent_kernel.shape[0],
               recurrent_kernel.shape[1], h.shape[0], h.shape[1],
               gates.shape[0], gates.shape[1], gates.shape[2], work.shape[0], work.shape[1],
               T if mask is None else mask.shape[0], B if mask is None else mask.shape[1],
               T if dy is None else dy.shape[0], B if dy is None else dy.shape[1],
               H if dy is None else dy.shape[2], dh.shape[0], dh.shape[1],
               T if dx is None else dx.shape[0], B if dx is None else dx.shape[1],
               I if dx is None else dx.shape[2], dkernel.shape[0], dkernel.shape[1],
               drecurrent_kernel.shape[0], drecurrent_kernel.shape[1], dbias.shape[0],
               dbias.shape[1]),
              (I, 3 * H, H, 3 * H, T + 1, B, T, B, 4 * H, B + 2, 3 * H, T, B,
               T, B, H, B, H, T, B, I, I, 3 * H, H, 3 * H, 2 if reset_after else 1, 3 * H))
    with nogil:
        sums = &work[B, 0]
        for j in range(4 * H):
            sums[j] = 0
        for s in range(T):
            t = s if reverse else T - 1 - s
            before = t + 1 if reverse else t
            g = &gates[t, 0, 0]
            if mask is not None:
                m = &mask[t, 0]
            if dy is not None:
                d = &dy[t, 0, 0]
            if reset_after:
                gru_gates_grad(g, B, H, m, &h[before, 0, 0], d, g, &dh[0, 0], sums)
                matmul(False, True, B, H, 3 * H, g + H, 4 * H, u, 3 * H,
                             1, &dh[0, 0], H)
            else:
                cho_update_grad(g, B, H, m, &h[before, 0, 0], d, g, &dh[0, 0], sums)
                matmul(False, True, B, H, H, g, 4 * H, u + 2 * H, 3 * H,
                             0, &work[0, 0], H)
                cho_reset_grad(g, B, H, &h[before, 0, 0], &work[0, 0], g, &dh[0, 0], sums)
                matmul(False, True, B, H, 2 * H, g + H, 4 * H, u, 3 * H,
                             1, &dh[0, 0], H)

        # The weights, each as one product over all steps and sequences.
        g = &gates[0, 0, 0]
        first = &h[1, 0, 0] if reverse else &h[0, 0, 0]
        if reset_after:
            matmul(True, False, H, 3 * H, T * B, first, H, g + H, 4 * H,
                         1, &drecurrent_kernel[0, 0], 3 * H)
        else:
            matmul(True, False, H, 2 * H, T * B, first, H, g + H, 4 * H,
                         1, &drecurrent_kernel[0, 0], 3 * H)
            matmul(True, False, H, H, T * B, g + 3 * H, 4 * H, g, 4 * H,
                         1, &drecurrent_kernel[0, 2 * H], 3 * H)
        matmul(True, False, I, 2 * H, T * B, &x[0, 0, 0], I, g + H, 4 * H,
                     1, &dkernel[0, 0], 3 * H)
        matmul(True, False, I, H, T * B, &x[0, 0, 0], I, g, 4 * H,
                     1, &dkernel[0, 2 * H], 3 * H)
        add(2 * H, sums + H, &dbias[0, 0])
        add(H, sums, &dbias[0, 2 * H])
        if reset_after:
            add(3 * H, sums + H, &dbias[1, 0])
        if dx is not None:
            matmul(False, True, T * B, I, 2 * H, g + H, 4 * H, &kernel[0, 0], 3 * H,
                         0, &dx[0, 0, 0], I)
            matmul(False, True, T * B, I, H, g, 4 * H, &kernel[0, 2 * H], 3 * H,
                         1, &dx[0, 0, 0], I)


# ---- Optimizers: in place, over the flat parameter vector [P] ------------------------------------

def sgd(real[::1] theta, const real[::1] grad, real[::1] velocity, double learning_rate,
        double momentum, bint nesterov):
    """theta -= learning_rate grad, with momentum where `velocity` is not None."""
    cdef Py_ssize_t P = theta.shape[0]
    require(grad.shape[0] == P and (velocity is None or velocity.shape[0] == P),
            "sgd: shapes do not agree")
    if P == 0:
        return
    cdef real *v = NULL if velocity is None else &velocity[0]
    with nogil:
        sgd_update(&theta[0], P, &theta[0], &grad[0], v, learning_rate, momentum, <int>nesterov)


def rmsprop(real[::1] theta, const real[::1] grad, real[::1] square, real[::1] mean,
            real[::1] velocity, double learning_rate, double rho, double momentum,
            double epsilon):
    """RMSprop; `mean` is None unless centered, `velocity` is None without momentum."""
    cdef Py_ssize_t P = theta.shape[0]
    require(grad.shape[0] == P and square.shape[0] == P
            and (mean is None or mean.shape[0] == P)
            and (velocity is None or velocity.shape[0] == P), "rmsprop: shapes do not agree")
    if P == 0:
        return
    cdef real *a = NULL if mean is None else &mean[0]
    cdef real *v = NULL if velocity is None else &velocity[0]
    with nogil:
        rmsprop_update(&theta[0], P, &theta[0], &grad[0], &square[0], a, v, learning_rate, rho,
                       momentum, epsilon)


def adam(real[::1] theta, const real[::1] grad, real[::1] m, real[::1] v, real[::1] v_max,
         double step_size, double beta_1, double beta_2, double epsilon):
    """Adam (Kingma and Ba 2015); `step_size` holds both bias corrections; `v_max` is None
    unless amsgrad."""
    cdef Py_ssize_t P = theta.shape[0]
    require(grad.shape[0] == P and m.shape[0] == P and v.shape[0] == P
            and (v_max is None or v_max.shape[0] == P), "adam: shapes do not agree")
    if P == 0:
        return
    cdef real *most = NULL if v_max is None else &v_max[0]
    with nogil:
        adam_update(&theta[0], P, &theta[0], &grad[0], &m[0], &v[0], most, step_size,
                    beta_1, beta_2, epsilon)


# ---- Small ones ----------------------------------------------------------------------------------

def norm(const real[::1] x):
    """The Euclidean norm of x [N]."""
    require_blas_int(x.shape[0])
    cdef int n = <int>x.shape[0], unit = 1
    if n == 0:
        return 0.0
    if real is float:
        return snrm2(&n, <float *>&x[0], &unit)
    else:
        return dnrm2(&n, <double *>&x[0], &unit)


def all_finite(const real[::1] x):
    """Whether x [N] holds neither NaN nor infinity."""
    cdef Py_ssize_t N = x.shape[0]
    cdef int answer
    if N == 0:
        return True
    with nogil:
        answer = finite_array(&x[0], N, &x[0])
    return answer != 0


def sigmoid(const real[::1] x, real[::1] y):
    """y [N] = 1 / (1 + exp(-x)), within 4 units in the last place."""
    require(y.shape[0] == x.shape[0], "sigmoid: shapes do not agree")
    if x.shape[0] > 0:
        with nogil:
            sigmoid_array(&y[0], x.shape[0], &x[0], &y[0])


def tanh(const real[::1] x, real[::1] y):
    """y [N] = tanh(x), within 4 units in the last place."""
    require(y.shape[0] == x.shape[0], "tanh: shapes do not agree")
    if x.shape[0] > 0:
        with nogil:
            tanh_array(&y[0], x.shape[0], &x[0], &y[0])
