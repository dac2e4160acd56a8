/* A small pool of threads that share out numbered items.
 *
 * A layer is some ten short parallel loops, so workers spin briefly for the next loop before they sleep.
 * One loop runs at a time; the caller takes part. After fork the child starts a pool of its own.
 */
#define _GNU_SOURCE
#include "kernels.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#define SPINS 20000

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER; /* one loop at a time */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static int started; /* workers, besides the caller */

static struct {
    _Atomic uint64_t number; /* of the current loop */
    _Atomic int64_t next;
    _Atomic int running; /* workers that have not yet left the current loop */
    int threads;
    int64_t items;
    item_fn *fn;
    void *context;
} loop;

static void pause_cpu(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void work(int thread) {
    for (;;) {
        int64_t item = atomic_fetch_add_explicit(&loop.next, 1, memory_order_relaxed);
        if (item >= loop.items) return;
        loop.fn(loop.context, item, thread);
    }
}

static void *worker(void *argument) {
    int thread = (int)(intptr_t)argument;
    uint64_t seen = atomic_load(&loop.number) - 1; /* started inside the loop that first needs it */
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load_explicit(&loop.number, memory_order_acquire) == seen; i++) pause_cpu();
        if (atomic_load_explicit(&loop.number, memory_order_acquire) == seen) {
            pthread_mutex_lock(&lock);
            while (atomic_load(&loop.number) == seen) pthread_cond_wait(&wake, &lock);
            pthread_mutex_unlock(&lock);
        }
        seen = atomic_load(&loop.number);
        if (thread < loop.threads) work(thread);
        atomic_fetch_sub_explicit(&loop.running, 1, memory_order_release);
    }
    return NULL;
}

static void forget_workers(void) {
    started = 0;
    atomic_store(&loop.running, 0);
    pthread_mutex_init(&turn, NULL);
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&wake, NULL);
}

void parallel(int threads, int64_t items, item_fn *fn, void *context) {
    if (threads > MAX_THREADS) threads = MAX_THREADS;
    if (threads > items) threads = (int)items;
    if (threads <= 1) {
        for (int64_t i = 0; i < items; i++) fn(context, i, 0);
        return;
    }
    pthread_mutex_lock(&turn);
    static int prepared;
    if (!prepared) prepared = !pthread_atfork(NULL, NULL, forget_workers);
    loop.threads = threads;
    loop.items = items;
    loop.fn = fn;
    loop.context = context;
    atomic_store(&loop.next, 0);
    atomic_store(&loop.running, started);
    pthread_mutex_lock(&lock);
    atomic_fetch_add_explicit(&loop.number, 1, memory_order_release);
    pthread_cond_broadcast(&wake);
    pthread_mutex_unlock(&lock);
    while (started < threads - 1) {
        pthread_t id;
        atomic_fetch_add(&loop.running, 1);
        if (pthread_create(&id, NULL, worker, (void *)(intptr_t)(started + 1))) {
            atomic_fetch_sub(&loop.running, 1); /* fewer threads, the same result */
            break;
        }
        pthread_detach(id);
        started++;
    }
    work(0);
    for (int i = 0; atomic_load_explicit(&loop.running, memory_order_acquire) > 0; i++) {
        pause_cpu();
        if (i > SPINS) sched_yield();
    }
    pthread_mutex_unlock(&turn);
}
