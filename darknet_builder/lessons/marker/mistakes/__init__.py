"""The mistakes that ports of Darknet have had, each as a change of the solution's text.

One file for each chapter; ``mistakes_until`` lists them.
"""
