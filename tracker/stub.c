#include "tracker/tracker.h"
int cmd_tracker(int argc, char **argv) { return 1; }
