from .prompt_data_preprocessor import PromptDataPreprocessor, sample_name

__all__ = ['PromptDataPreprocessor', 'sample_name']
