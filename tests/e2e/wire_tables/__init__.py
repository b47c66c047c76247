"""
Tables of exact bytes: what one side sends, what the other side gets, and the rule that says so.

    requests    what clients send
    responses   what instances answer
    play        plays a row and says what happened
"""
