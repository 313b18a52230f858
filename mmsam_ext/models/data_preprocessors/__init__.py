from .prompt_data_preprocessor import PromptDataPreprocessor

__all__ = ['PromptDataPreprocessor']
