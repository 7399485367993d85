"""The course: each module trains one small transformer on one idea, in minutes on a CPU.

lesson.py says what a lesson is, text.py gives text that every machine has, pictures.py draws.
"""
