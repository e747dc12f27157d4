/* SPDX-License-Identifier: MIT
 * The tests of a table of scenarios: each is struck by cancels and timeouts at every step, and has
 * every allocation, system call and operation of its backend fail.
 *
 *     static const struct sweep_scenario scenarios[] = {...};   // sweep_harness.h
 *     SWEEP_MAIN(scenarios)
 *
 * tests/sweeps_test.py sees to it that every public call that suspends is in a scenario. */
#ifndef BECK_TESTS_SWEEP_H
#define BECK_TESTS_SWEEP_H

#include "tests/sweep_calls.h"
#include "tests/sweep_harness.h"
#include "tests/sweep_operations.h"

/* Nothing goes wrong any more in this run: for a check that does the whole thing again. */
static inline void sweep_calm(void)
{
    atomic_store(&alloc_sweep_until_failure, 0);
    atomic_store(&shim.asleep, true);
    sweep_ops.awake = false;
}

#define SWEEP_TEST(name, check)                                                                    \
    static void name(void)                                                                         \
    {                                                                                              \
        CHECK(check);                                                                              \
    }

#define SWEEP_MAIN(table)                                                                          \
    static const size_t n_scenarios = sizeof(table) / sizeof *(table);                             \
    SWEEP_TEST(struck_by_a_cancel_at_every_step, sweep_strikes(table, n_scenarios, SWEEP_CANCEL))  \
    SWEEP_TEST(struck_by_a_timeout_at_every_step,                                                  \
               sweep_strikes(table, n_scenarios, SWEEP_TIMEOUT))                                   \
    SWEEP_TEST(struck_by_both_at_every_step, sweep_strikes(table, n_scenarios, SWEEP_BOTH))        \
    SWEEP_TEST(swallowing_a_cancel_at_every_step,                                                  \
               sweep_strikes(table, n_scenarios, SWEEP_SWALLOW))                                   \
    SWEEP_TEST(every_allocation_may_fail, sweep_allocations(table, n_scenarios))                   \
    SWEEP_TEST(disturbed_at_random, sweep_disturbed(table, n_scenarios))                           \
    SWEEP_TEST(every_system_call_may_fail, sweep_calls(table, n_scenarios))                        \
    SWEEP_TEST(every_operation_may_fail, sweep_operations(table, n_scenarios))                     \
    CHECK_MAIN(TEST(struck_by_a_cancel_at_every_step), TEST(struck_by_a_timeout_at_every_step),    \
               TEST(struck_by_both_at_every_step), TEST(swallowing_a_cancel_at_every_step),        \
               TEST(every_allocation_may_fail), TEST(disturbed_at_random),                         \
               TEST(every_system_call_may_fail), TEST(every_operation_may_fail))

#endif
