"""Help on what has no record of its own: syntax, variables; and examples for the rest.

Verbs and system functions explain themselves, in the docstrings of their records. Here is what
the prompt's `]h` says beside that. Every example is run by the tests.
"""

from typing import NamedTuple

__all__ = ["EXAMPLES", "TOPICS", "Topic"]


class Topic(NamedTuple):
    """An entry of the help.

    Attributes:
        glyph: how it is written, or its name.
        title: what it is called.
        text: what it means, with examples `expression  -->  result`.
    """

    glyph: str
    title: str
    text: str


TOPICS = [
    Topic("::", "Define", """a::b: give the variable a the value b; b is the result too.

    a::[1 2 3];+/a  -->  6
    a::1;{[a];a::2}();a  -->  1"""),
    Topic(":[", "Conditional", """:[p;c;a]: c if p is true, else a. False are 0, [] and "".

    More cases go between: :[p1;c1:|p2;c2;a].

    :[1;:yes;:no]  -->  :yes
    {:[x<0;:minus:|x=0;:zero;:plus]}'[-2 0 5]  -->  [:minus :zero :plus]"""),
    Topic("{", "Function", """{...}: a function of x, y and z, as far as it mentions them.

    Its value is that of its last expression. [a b]; at its head are local variables. A call may
    leave arguments out: what comes back is a function of these, a projection.

    {x*y}(3;4)  -->  12
    f::{[s];s::x+y;s*s};f(1;2)  -->  9
    {x-y}(;1)'[10 20]  -->  [9 19]
    {:[x<2;1;x*.f(x-1)]}(5)  -->  120"""),
    Topic("[", "List", """[a b c]: a list of constants; names in it are symbols, and stay such.

    Lists of numbers of equal shape are Tensors. Computed lists are made by , (Join).

    [1 [2 "two"] :three]  -->  [1 [2 "two"] :three]
    (1+1),(2+2),3+3  -->  [2 4 6]"""),
    Topic(":{", "Dictionary", """:{[k v] ...}: a dictionary; ? looks up, and , changes it in place.

    d::{x};d:::{["a" 1]};d,["b" 2];d?"b"  -->  2
    #:{[1 2] [3 4]}  -->  2"""),
    Topic('"', "String", """"...": a string; a quote inside is written twice. 0ca is a character.

    #"say ""hi\"""  -->  8
    *"abc"  -->  0ca"""),
    Topic(':"', "Comment", """:"...": a comment, anywhere between two pieces of a program.

    1+:"one and"2  -->  3"""),
    Topic(":a", "Symbol", """:name: a symbol, which stands for itself.

    :foo=:foo  -->  1"""),
    Topic("it", "It", "it: at the prompt, the value of the last line."),
    Topic(".a", "Arguments", """.a: the arguments of the program, a list of strings.

    #.a  -->  0"""),
    Topic(".cin", "Standard-Channels", ".cin, .cout, .cerr: channels for .fc and .tc."),
    Topic(".cols", "Columns", """.cols: the width of the screen.

    .cols  -->  80"""),
    Topic(".e", "Epsilon", """.e: half the distance from 1 to the next real number.

    1=1+.e  -->  1"""),
    Topic(".edit", "Editor", ".edit: whether the prompt edits lines; .edit::0 turns it off."),
    Topic(".f", "Function-Itself", """.f: the function that is being computed, for recursion.

    {:[x=0;[];x,.f(x-1)]}(3)  -->  [3 2 1]"""),
    Topic(".fastpow", "Fast-Power", ".fastpow: for old programs; powers are always fast here."),
    Topic(".h", "Host", """.h: the kind of the system.

    .h  -->  :unix"""),
]  # fmt: skip

# By the glyph and the number of operands of an adverb, by the name of a system function.
EXAMPLES: dict[str, list[str]] = {
    "'1": ["-'[1 2 3]  -->  [-1 -2 -3]", "#'[\"one\" \"three\"]  -->  [3 5]"],
    "'2": ["[1 2 3],'[4 5 6]  -->  [[1 4] [2 5] [3 6]]"],
    ":\\2": ["1,:\\[2 3 4]  -->  [[1 2] [1 3] [1 4]]"],
    ":/2": ["1,:/[2 3 4]  -->  [[2 1] [3 1] [4 1]]"],
    ":'1": ["-:'[1 4 9 16]  -->  [-3 -5 -7]"],
    "/1": ["+/[1 2 3 4]  -->  10", "|/[3 1 4 1 5]  -->  5"],
    "/2": ["10+/[1 2]  -->  13", "0+/[]  -->  0"],
    "\\1": ["+\\[1 2 3 4]  -->  [1 3 6 10]"],
    "\\2": ["10+\\[1 2]  -->  [10 11 13]"],
    ":~1": ["{(x+2%x)%2}:~2  -->  1.414213562373095", ',/:~[1 [2 [3]]]  -->  [1 2 3]'],
    "\\~1": ["{_x%2}\\~10  -->  [10 5 2 1 0]"],
    ":~2": ["{x<1000}{x*2}:~1  -->  1024"],
    "\\~2": ["{x<10}{x*2}\\~1  -->  [1 2 4 8]"],
    ":*2": ["3{x*2}:*1  -->  8"],
    "\\*2": ["3{x*2}\\*1  -->  [1 2 4 8]"],
    ".p": ['.p("hello")  -->  "hello"'],
    ".d": [".d([1 2])  -->  [1 2]"],
    ".w": ['.w("a")  -->  "a"'],
    ".fl": [".fl()  -->  []"],
    ".rl": ['.tc(T::.oc("a.txt"));.p("hi");.cc(T);.fc(.ic("a.txt"));.rl()  -->  "hi"'],
    ".r": ['.tc(T::.oc("a.txt"));.p([1 2]);.cc(T);.fc(.ic("a.txt"));.r()  -->  [1 2]'],
    ".rls": ['.tc(T::.oc("a.txt"));.p("hi");.cc(T);.fc(.ic("a.txt"));.rls()  -->  ["hi"]'],
    ".mi": ['.tc(T::.oc("a.txt"));.p(1);.cc(T);.fc(.ic("a.txt"));{.mi(0)}{x,.r()}:~[]'
            "  -->  [1 :eof]"],
    ".ic": ['.tc(T::.oc("a.txt"));.p("hi");.cc(T);.ic("a.txt")  -->  :inchan'],
    ".oc": ['T::.oc("a.txt");.cc(T)  -->  []'],
    ".ac": ['T::.ac("a.txt");.cc(T)  -->  []'],
    ".cc": ['T::.oc("a.txt");.cc(T)  -->  []'],
    ".fc": ['.fc(0)  -->  :inchan'],
    ".tc": ['.tc(0)  -->  :outchan'],
    ".df": ['.cc(.oc("a.txt"));.df("a.txt")  -->  []'],
    ".l": ['.tc(T::.oc("two.kg"));.d("1+1");.cc(T);.l("two")  -->  2'],
    ".module": [".module(:m);a::1;f::{a};.module(0);a::2;f()  -->  1"],
    ".sys": ['.sys("true")  -->  0'],
    ".pc": [".pc()>0  -->  1"],
    ".rn": [".rn()<1  -->  1"],
    ".hot": [".hot(0)  -->  0"],
    ".pya": ['.pyf("fractions";"Fraction");.pya(Fraction(1;3);"denominator")  -->  3'],
    ".pyc": ['.pyf("math";"isclose");.pyc("isclose";[1.0 1.1];:{["rel_tol" 0.2]})  -->  1'],
}  # fmt: skip
