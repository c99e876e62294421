"""Does the best learning rate change with width, depth, batch and horizon?"""
