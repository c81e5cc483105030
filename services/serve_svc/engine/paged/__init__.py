"""The engine over OpenVINO: weights packed for this processor, keys and values in blocks that requests share."""
