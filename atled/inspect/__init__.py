"""Look inside: what the tape holds, how it hangs together, why a gradient is missing.

Nothing here costs anything until it is called: the tape keeps no more for it than the
derivatives need, and the text of a rule is read from the source file of its record.
"""

from atled.inspect.graph import Graph as Graph
from atled.inspect.graph import graph as graph
from atled.inspect.nan import NanReport as NanReport
from atled.inspect.nan import keep_lines as keep_lines
from atled.inspect.nan import nan_report as nan_report
from atled.inspect.paths import Explanation as Explanation
from atled.inspect.paths import why_no_grad as why_no_grad
from atled.inspect.tape_text import print_tape as print_tape
