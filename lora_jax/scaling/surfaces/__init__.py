"""Which learning rate and which batch size together are best, and how does the pair move with N and D?"""
