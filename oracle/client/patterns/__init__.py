"""Patterns of answers: from what a dapp wants to hear to the table of states that a prompt names.

`expressions` says what may be answered, as bytes; `regex`, `forms` and `schema` write such expressions; `automaton`
makes the least automaton of one, `table` its bytes, and `patterned` puts a type before a prompt and reads answers back.
js/src/patterns.ts makes the same bytes.
"""
