// Package chaos breaks things around a real Penstock, as a process of its own in front of simulated providers, and checks
// from outside that its promises hold: no answered exchange without its record, nothing sent that cannot be recorded,
// streams that end honestly, limits that hold, recovery without a restart. What providers were asked, and what they
// charge, is judged by the simulator's own bill, never by what Penstock says of itself.
//
// It is not for what one package can show; that is tested beside the code. It needs Linux: faults are made with signals,
// limits and mounts, and processes are looked at through /proc. Elsewhere it is left out, and says so.
//
// Every test prints the seed of its draws; PENSTOCK_TEST_SEED repeats one. PENSTOCK_SOAK=1 makes the tests longer.
package chaos
