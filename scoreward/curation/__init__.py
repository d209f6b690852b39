"""Rich preference pairs: generate, criticise, instruct, edit, judge, keep."""
