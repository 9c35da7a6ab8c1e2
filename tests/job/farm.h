/* Workers of a simulated farm in front of a real queue: time is a number, devices are arithmetic.
 */
#ifndef TEST_FARM_H
#define TEST_FARM_H

#include "base/base.h"
#include "job/queue.h"
#include "job/tenant.h"

enum { FARM_WORKERS = 8, FARM_JOBS = 64, FARM_LOG = 20000 };

/* A worker draws all its jobs at a time, and shares its device evenly between them. */
struct farm {
    struct cn_queue q;
    struct cn_tenants *ts;
    int workers, capacity;
    double now; /* seconds */
    struct {
        struct cn_job *job;
        double left; /* seconds of the device */
    } run[FARM_WORKERS][FARM_JOBS];
    int n[FARM_WORKERS];
    char log[FARM_LOG]; /* first letters of the tenants, in the order in which jobs ended */
    int ended;
    bool measured; /* the queue is told what a job really cost */
};

void farm_init(struct farm *f, int workers, int capacity, const struct cn_tenant_rule *rule,
               size_t rules);
void farm_release(struct farm *f);

/* n jobs with a predicted cost; really they take `seconds` of a device each (0: as predicted). */
void farm_submit(struct farm *f, const char *tenant, int n, double cost, int priority,
                 double seconds);

/* Hands out, then lets time pass until a job has ended: its tenant's letter; 0: nothing runs. */
char farm_step(struct farm *f);
void farm_run(struct farm *f, int ends); /* so many steps */

/* How many of the first n ends (from the given one on) were this tenant's. */
int farm_count(const struct farm *f, int from, int n, char tenant);

/* The number of ends after which `tenant` has had its k-th; -1: it has not. */
int farm_when(const struct farm *f, char tenant, int k);

#endif
