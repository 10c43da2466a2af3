// Training on the four corners of XOR, a run in each lane of a vector register. Compiled for one experiment:
//   P, UNITS, OUTPUTS (0: hidden units are summed), ABS or RELU or PRELU; RATE, ADAM with B1, B2, EPS;
//   STOP, CAP, PATIENCE with MIN_IMPROVEMENT; GROUP, QUORUM, CHECK, see train().
#include <float.h>
#include <math.h>
#include <stdint.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

#ifdef __AVX512F__
#define WIDTH 16
#elif defined __AVX__
#define WIDTH 8
#else
#define WIDTH 4
#endif
#define LANES (GROUP * WIDTH)
#define WEIGHTS (3 * UNITS) // where the second layer's weights begin, or the slope of a PReLU
#define SCALE (2.0f / (4 * (OUTPUTS ? OUTPUTS : 1)))
#define EACH(i, n) _Pragma("GCC unroll 64") for (int i = 0; i < (n); i++)
#define LANEWISE(expression) vec r; for (int l = 0; l < WIDTH; l++) r[l] = (expression); return r

typedef float vec __attribute__((vector_size(4 * WIDTH)));
typedef int32_t mask __attribute__((vector_size(4 * WIDTH)));

static const float TARGET[4] = {0, 1, 1, 0};

static inline vec root(vec a) { LANEWISE(sqrtf(a[l])); }
static inline vec absolute(vec a) { LANEWISE(fabsf(a[l])); }
static inline vec min(vec a, vec b) { LANEWISE(a[l] < b[l] ? a[l] : b[l]); }
static inline vec max(vec a, vec b) { LANEWISE(a[l] > b[l] ? a[l] : b[l]); }
static inline vec where(mask m, vec a) { return (vec)(m & (mask)a); }
static inline vec pairs(const vec t[4]) { return (t[0] + t[1]) + (t[2] + t[3]); }

static inline vec activate(vec z, const vec p[P])
{
#if defined ABS
    return absolute(z);
#elif defined PRELU
    return max(z, (vec){0}) + p[WEIGHTS] * min(z, (vec){0});
#else
    return max(z, (vec){0});
#endif
}

// The derivative by z of what has derivative d by the activation.
static inline vec backward(vec z, vec d, const vec p[P])
{
#if defined ABS
    return where(z != 0, (vec)((mask)d ^ ((mask)z & (mask) - (vec){0})));
#elif defined PRELU
    return where(z > 0, d) + where(z <= 0, p[WEIGHTS] * d);
#else
    return where(z > 0, d);
#endif
}

// Loss and gradient. Sums over the corners are taken in pairs.
static inline vec evaluate(const vec p[P], vec g[P])
{
    const vec *w = p, *b = p + 2 * UNITS;
    vec z[UNITS][4], h[UNITS][4], d[UNITS][4], r[4], t[4], loss = {0};
    EACH(k, UNITS) {
        vec sum = w[2 * k] + w[2 * k + 1], difference = w[2 * k] - w[2 * k + 1];
        z[k][0] = b[k] - sum;
        z[k][1] = b[k] + difference;
        z[k][2] = b[k] - difference;
        z[k][3] = b[k] + sum;
        EACH(i, 4) {
            h[k][i] = activate(z[k][i], p);
            d[k][i] = (vec){0};
        }
    }
#if OUTPUTS
    const vec *v = p + WEIGHTS, *c = v + OUTPUTS * UNITS;
    EACH(o, OUTPUTS) {
        EACH(i, 4) {
            r[i] = c[o] - (o ? TARGET[i] : 1 - TARGET[i]);
            EACH(k, UNITS) r[i] += v[o * UNITS + k] * h[k][i];
            t[i] = r[i] * r[i];
        }
        loss += pairs(t);
        EACH(i, 4) r[i] *= SCALE;
        g[WEIGHTS + OUTPUTS * UNITS + o] = pairs(r);
        EACH(k, UNITS) {
            EACH(i, 4) {
                t[i] = r[i] * h[k][i];
                d[k][i] += v[o * UNITS + k] * r[i];
            }
            g[WEIGHTS + o * UNITS + k] = pairs(t);
        }
    }
#else
    EACH(i, 4) {
        r[i] = (vec){0} - TARGET[i];
        EACH(k, UNITS) r[i] += h[k][i];
        t[i] = r[i] * r[i];
        EACH(k, UNITS) d[k][i] = SCALE * r[i];
    }
    loss = pairs(t);
#endif
#ifdef PRELU
    EACH(i, 4) {
        t[i] = (vec){0};
        EACH(k, UNITS) t[i] += d[k][i] * min(z[k][i], (vec){0});
    }
    g[WEIGHTS] = pairs(t);
#endif
    EACH(k, UNITS) {
#if defined ABS && !OUTPUTS && UNITS == 1
        EACH(i, 4) d[k][i] = TARGET[i] ? backward(z[k][i], d[k][i], p) : SCALE * z[k][i]; // sign(z) |z| = z
#else
        EACH(i, 4) d[k][i] = backward(z[k][i], d[k][i], p);
#endif
        vec first = d[k][0] + d[k][1], last = d[k][2] + d[k][3];
        g[2 * k] = (d[k][1] - d[k][0]) + (d[k][3] - d[k][2]);
        g[2 * k + 1] = last - first;
        g[2 * UNITS + k] = first + last;
    }
    return loss * (SCALE / 2);
}

// A vector of runs. `going` is 1, and 0 in lanes whose run has ended, which stand still.
typedef struct {
    vec p[P], going, epoch;
#ifdef ADAM
    vec mu[P], nu[P], mu_weight, nu_weight;
#endif
#ifdef PATIENCE
    vec best, stale;
#endif
} State;

static inline void step(State *restrict s)
{
    vec g[P], loss = evaluate(s->p, g);
#ifdef ADAM
    const float a1 = 1 - B1, a2 = 1 - B2, b2 = B2;
    s->mu_weight += a1 * (1 - s->mu_weight);
    s->nu_weight += a2 * (1 - s->nu_weight);
    vec unbias = root(s->nu_weight), rate = RATE * s->going * unbias / s->mu_weight, eps = EPS * unbias;
    EACH(j, P) {
        s->mu[j] += a1 * (g[j] - s->mu[j]);
        s->nu[j] = b2 * s->nu[j] + a2 * g[j] * g[j];
        s->p[j] -= rate * s->mu[j] / (root(s->nu[j]) + eps);
    }
#else
    vec rate = RATE * s->going;
    EACH(j, P) s->p[j] -= rate * g[j];
#endif
    s->epoch += s->going;
    mask goes_on = (loss >= STOP) & (s->epoch < CAP);
#ifdef PATIENCE
    s->stale = where(s->best - loss <= MIN_IMPROVEMENT, s->stale + 1);
    s->best = min(s->best, loss);
    goes_on &= s->stale <= PATIENCE;
#endif
    s->going = where(goes_on, s->going);
}

static inline void begin(State *s, int l, const float *p)
{
    EACH(j, P) s->p[j][l] = p[j];
    s->going[l] = 1;
    s->epoch[l] = 0;
#ifdef ADAM
    EACH(j, P) s->mu[j][l] = s->nu[j][l] = 0;
    s->mu_weight[l] = s->nu_weight[l] = 0;
#endif
#ifdef PATIENCE
    s->best[l] = FLT_MAX;
    s->stale[l] = 0;
#endif
}

static inline int count_going(const State s[GROUP])
{
    int count = 0;
    EACH(v, GROUP) {
#ifdef __AVX512F__
        count += __builtin_popcount(_mm512_test_epi32_mask((__m512i)s[v].going, (__m512i)s[v].going));
#else
        for (int l = 0; l < WIDTH; l++) count += s[v].going[l] != 0;
#endif
    }
    return count;
}

// GROUP vectors step together, to hide latencies. Every CHECK steps it is counted how many lanes have ended; when
// they are QUORUM or more, all of them take the next runs.
static void train_all(int n, const float *initial, float *params, int32_t *epochs)
{
    State s[GROUP] = {0};
    int slot[LANES], next = 0, held = 0;
    for (int l = 0; l < LANES; l++) slot[l] = -1;
    for (;;) {
        for (int l = 0; l < LANES; l++) {
            State *at = &s[l / WIDTH];
            if (at->going[l % WIDTH] != 0) continue;
            if (slot[l] >= 0) {
                EACH(j, P) params[(long)slot[l] * P + j] = at->p[j][l % WIDTH];
                epochs[slot[l]] = at->epoch[l % WIDTH];
                slot[l] = -1;
                held--;
            }
            if (next < n) {
                begin(at, l % WIDTH, initial + (long)next * P);
                slot[l] = next++;
                held++;
            }
        }
        if (!held) return;
        int enough = held > QUORUM ? held - QUORUM : 0;
        do {
            for (int c = 0; c < CHECK; c++) EACH(v, GROUP) step(&s[v]);
        } while (count_going(s) > enough);
    }
}

static void evaluate_all(int n, const float *params, float *loss)
{
    for (int start = 0; start < n; start += WIDTH) {
        vec p[P] = {0}, g[P], result;
        int many = n - start < WIDTH ? n - start : WIDTH;
        for (int l = 0; l < many; l++) EACH(j, P) p[j][l] = params[(long)(start + l) * P + j];
        result = evaluate(p, g);
        for (int l = 0; l < many; l++) loss[start + l] = result[l];
    }
}

// n runs from (n, P) parameters: final parameters, epochs and final losses. Subnormal numbers are taken for 0.
void train(int n, const float *initial, float *params, int32_t *epochs, float *loss)
{
#ifdef __SSE__
    unsigned control = _mm_getcsr();
    _mm_setcsr(control | 0x8040);
#endif
    train_all(n, initial, params, epochs);
    evaluate_all(n, params, loss);
#ifdef __SSE__
    _mm_setcsr(control);
#endif
}
